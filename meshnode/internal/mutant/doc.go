// Package mutant holds a constant for each defect that is seeded into the node to see that
// tests and criteria find it. All are false, so that the compiler leaves out what they
// guard, but in a build with the tag of one. The table of them is e2e/mutant.
//
// # Map
//
//	mutant                the defects by name
//	*_on, *_off           one constant each, by the build tag of its name
package mutant
