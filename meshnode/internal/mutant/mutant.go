// Package mutant holds a constant for each defect that is seeded into the node to see that
// tests and criteria find it. All are false, so that the compiler leaves out what they
// guard, but in a build with the tag of one. The table of them is e2e/mutant.
package mutant
