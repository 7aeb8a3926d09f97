// Package home keeps the sessions of clients. A session is a small state with a
// version; it lives in memory, on every node, and one node is its home, which
// alone orders what is done to it.
//
// # Who is home
//
// A new session gets the live node with the highest random weight for its id
// (Thaler and Ravishankar, "Using name-based mappings to increase hit rates",
// 1998). From then on its home is written in the session, as a ballot (epoch,
// home), and changes only when another node claims it: because the control loop
// takes the sessions of a lost node over (Migrate, which asks the other candidates to
// do the same), because the home hands them over, when it leaves or lacks resources
// (Yield), because a node that lost its memory takes up what nobody else took in
// time, or because there is no such home: its name is no member's, or that of one whom a node
// has not met, and has no session with, for a while (nobodyAfter). The highest ballot wins. A
// node that comes back gets nothing back.
//
// # What is promised
//
// Every operation, reading included, is answered by the home once a majority of
// the members holds what it answers; a claim asks a majority for the newest
// state before it serves. Two majorities share a node, so:
//
//   - An acknowledged update is never lost, and never seen to be undone, while
//     fewer than half of the members are lost at a time. A member that comes
//     back without its memory counts as lost until it has taken in what the
//     others hold, which it does before its word counts.
//   - In a partition the sessions go on where a majority of the members is; the
//     others refuse (Busy) instead of letting two states grow apart. The heal
//     has nothing to merge but ballots.
//   - An update without an answer may have been applied, and may be later. With
//     the version that it expects it is applied at most once, and never over
//     an update that the client did not know of.
//
// Members are the peers that discovery names or that were met, until they are
// forgotten: a node that is down or has said goodbye still is one. Majorities of
// memberships that differ by one node meet; nodes whose views differ by more at
// the moment of a claim are outside the promise, and so is a mesh that loses
// half of its members at once. Only neighbours are asked, and all members count:
// where not all are neighbours (package route: above 12 nodes), a node with too
// few of them for a majority refuses.
//
// A member takes part with its vote: it can claim any session, refuse, or say that it holds
// what it does not, as any home can. It cannot claim or propose in another's name, nor so high
// an epoch that nobody could claim after it: one further ahead than missed claims explain is
// refused (maxLeap), so that what it took comes back when it has left; unless it told nodes
// different things until their ballots were further apart than that.
//
// But what it says that others hold or have claimed, also unasked, is believed up to that
// bound: nodes pass on promises and states that are not their own, and none is signed. Without
// them a claim could not go beyond one that it has not heard of, nor find the newest state. So a
// member can have nodes take another one for a session's home, and a state that it made up for
// the newest. A member that is named so takes the session up when it is asked. A name that is
// nobody's leaves it without a home, and what is asked of it is refused (Busy), until another
// node claims it as if that home had been lost: within nobodyAfter and widen for each better
// candidate, and again each time that it is said anew.
//
// This is a register for each session by Lamport's rules ("The part-time
// parliament", 1998): Propose and its acknowledgement are phase two, Prepare
// and its promise phase one. That nothing is on disk, and what a node without
// memory has to do, is from Liskov and Cowling, "Viewstamped replication
// revisited", 2012. Every node holds every session: it suits sessions that are
// few and small (see Limits), and any survivor can take over.
//
// Table is a state machine without clock, goroutine or network; Keeper runs it.
//
// # Map
//
//	table, operation, message   the state machine, what clients ask, what members say
//	lead, replica               a home's side of an update, and a member's
//	claim, rank                 who takes a session over
//	recover                     what a node without memory does first
//	keeper                      clock and network
package home
