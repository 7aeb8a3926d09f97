package live

import (
	"charm.land/lipgloss/v2"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// Theme is how a screen is coloured. Its colours are the terminal's own sixteen, which a
// person has chosen to be able to read; nothing is told by a colour alone.
type Theme struct {
	plain, title, rule, dim, good, warm, bad lipgloss.Style
}

// themeOf is the theme that the environment asks for: any value of NO_COLOR but the empty one
// leaves colours away (https://no-color.org).
func themeOf(getenv func(string) string) Theme { return NewTheme(getenv("NO_COLOR") == "") }

// NewTheme returns the theme of a screen, with colours or without.
func NewTheme(colour bool) Theme {
	plain := lipgloss.NewStyle()
	if !colour {
		return Theme{plain, plain, plain, plain, plain, plain, plain}
	}
	return Theme{
		plain: plain,
		title: plain.Bold(true),
		rule:  plain.Foreground(lipgloss.Cyan),
		dim:   plain.Faint(true),
		good:  plain.Foreground(lipgloss.Green),
		warm:  plain.Foreground(lipgloss.Yellow),
		bad:   plain.Foreground(lipgloss.Red).Bold(true),
	}
}

// verdict is how a verdict is shown; one that there is not yet is dim.
func (t Theme) verdict(v report.Verdict) lipgloss.Style {
	switch v {
	case report.Passed:
		return t.good
	case report.Failed:
		return t.bad
	case "", report.NotSupported:
		return t.dim
	}
	return t.warm
}
