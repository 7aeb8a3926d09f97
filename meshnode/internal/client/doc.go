// Package client is the recording client: it writes records to every node and
// reads them back, does the same through a Service, keeps client sessions there,
// and writes down what it asked and what it was told.
//
// Every operation has a retry budget, api.RetryBudget (2 s): an attempt that failed
// is repeated on a new connection, and one that is not answered soon gets a rival on
// a new connection, until one succeeds or the budget is spent. Only then has the
// operation failed. Each attempt is counted, and the errors of those that failed are
// kept, beside the operation's outcome.
//
// # Map
//
//	client, session       what it does all the time: records, and client sessions
//	operation, request, transport
//	                      one operation, with its attempts
//	history               what is written down of it
//	stall                 a witness of how long the machine kept it from running
package client
