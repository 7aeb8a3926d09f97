// Package verify judges what clients were promised against what the mesh
// holds and what they were told. Its functions are pure: they read a recorded
// history (package api), so a saved one can be judged again.
package verify
