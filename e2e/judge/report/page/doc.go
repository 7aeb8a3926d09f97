// Package page makes the report of a run for people: one HTML file that needs nothing
// else, from what the run left in its directory.
//
// evidence.go reads the artefacts of a scenario, history.go the runs before, chart.go and
// panels.go draw, view.go says what stands where, and page.html is how it looks. The
// charts are SVG by gonum/plot. Nothing is fetched when the page is opened, and no script
// is in it.
//
// # Map
//
//	view, criterion       what the page shows
//	evidence, history     what it is read from
//	panels, traffic, curve, reaction, chart
//	                      its charts
package page
