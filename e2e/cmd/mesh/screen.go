package main

import (
	"bytes"
	"io"
	"strings"
)

// page is what is drawn at once.
type page = bytes.Buffer

// screen is where one page takes the place of the one before it: on a terminal. Elsewhere pages
// follow each other.
type screen struct {
	out      io.Writer
	terminal bool
	drawn    bool
}

// leave ends the line on which a terminal shows the ^C that ended the watch: what comes next has
// one of its own. Nothing else has to be put back.
func (s *screen) leave() error {
	if !s.terminal || !s.drawn {
		return nil
	}
	_, err := io.WriteString(s.out, "\n")
	return err
}

// draw writes a page in one piece, so that nobody sees half of it.
func (s *screen) draw(write func(*page) error) error {
	var b page
	if err := write(&b); err != nil {
		return err
	}
	text := b.String()
	switch {
	case s.terminal:
		if !s.drawn { // what was there before goes, once
			text = restAll + text
		}
		text = home + strings.ReplaceAll(text, "\n", restOf+"\n") + restAll
	case s.drawn:
		text = "\n" + text
	}
	s.drawn = true
	_, err := io.WriteString(s.out, text)
	return err
}
