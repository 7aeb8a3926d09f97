package route

// distance orders announcements: newer first, then the better TQ.
type distance struct {
	incarnation uint64
	seq         uint32
	tq          uint8
}

// better reports whether d is strictly better than e.
func (d distance) better(e distance) bool {
	if d.incarnation != e.incarnation {
		return d.incarnation > e.incarnation
	}
	if d.seq != e.seq {
		return d.seq > e.seq
	}
	return d.tq > e.tq
}

// newer reports whether d has a newer sequence than e.
func (d distance) newer(e distance) bool {
	return d.incarnation > e.incarnation || d.incarnation == e.incarnation && d.seq > e.seq
}
