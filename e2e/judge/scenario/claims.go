package scenario

// Claims is what a criterion claims of the mesh. What must become of it where the mesh cannot
// pass follows from that: package control has the rules. A criterion without claims is refused
// by Check, so that none is taken for one that claims nothing.
type Claims struct {
	// Reacts is whether it claims a reaction to the fault: it must fail without one. Heals is
	// whether it claims what only the loop brings about: it must fail with the loop off.
	Reacts, Heals bool
	// Note says why, where that does not go without saying.
	Note string

	said bool
}

// Reacts claims a reaction to the fault, whether the loop brings it about or not.
func Reacts() Claims { return Claims{Reacts: true, said: true} }

// Heals claims a reaction to the fault that only the loop brings about.
func Heals() Claims { return Claims{Reacts: true, Heals: true, said: true} }

// Holds claims that something does not happen, or goes on: that is so without the fault, too.
func Holds() Claims { return Claims{said: true} }

// Upholds claims the same, where under the fault only the loop sees to it.
func Upholds() Claims { return Claims{Heals: true, said: true} }

// Because returns the claims with a note of why they are so.
func (c Claims) Because(note string) Claims {
	c.Note = note
	return c
}
