// Package live shows a run of the suite while it goes on. The process of each scenario tells
// events, one JSON object a line. They are folded into a state, and the state is drawn: as
// one screen on a terminal, or as plain lines. Nobody waits for it and nothing depends on
// it: an event that is lost or cannot be read costs a picture, never a verdict.
//
// # Map
//
//	event                 what a scenario tells, and how it is sent and read
//	state                 what a run has come to, event by event
//	screen, theme         a state on a terminal
//	line                  an event in a log
//	view                  who is shown which of them
package live
