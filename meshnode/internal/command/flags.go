package command

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// Flags is a command's flag set, mirrored by MESH_* variables.
type Flags struct {
	*flag.FlagSet
	Getenv func(string) (string, bool) // os.LookupEnv
}

// NewFlags returns the flag set of a command, named with its binary. Help goes to
// out.
func NewFlags(name, example string, out io.Writer) *Flags {
	f := &Flags{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), Getenv: os.LookupEnv}
	f.SetOutput(io.Discard) // errors are printed once, by main
	f.Usage = func() {
		f.SetOutput(out)
		fmt.Fprintf(out, "usage: %s [flags]\n\n", name)
		f.PrintDefaults()
		fmt.Fprintf(out, "\nEvery flag --some-name can also be given as the variable MESH_SOME_NAME.\n\nexample:\n  %s\n", example)
		f.SetOutput(io.Discard)
	}
	return f
}

// Parse reads the arguments, and the environment for flags they do not set. Its
// error wraps ErrUsage or is flag.ErrHelp.
func (f *Flags) Parse(args []string) error {
	if err := f.FlagSet.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%w: unexpected argument %q", ErrUsage, f.Arg(0))
	}
	given := map[string]bool{}
	f.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
	var errs []error
	f.VisitAll(func(fl *flag.Flag) {
		name := "MESH_" + strings.ToUpper(strings.ReplaceAll(fl.Name, "-", "_"))
		if v, ok := f.Getenv(name); ok && !given[fl.Name] {
			if err := f.Set(fl.Name, v); err != nil {
				errs = append(errs, fmt.Errorf("%w: variable %s: %w", ErrUsage, name, err))
			}
		}
	})
	return errors.Join(errs...)
}

// Need returns an error that names the flags that are empty.
func (f *Flags) Need(names ...string) error {
	var missing []string
	for _, n := range names {
		if f.Lookup(n).Value.String() == "" {
			missing = append(missing, "--"+n)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: %s must be set; see --help", ErrUsage, strings.Join(missing, ", "))
	}
	return nil
}

// OnOff is a flag that is on or off.
type OnOff bool

// String implements flag.Value.
func (o *OnOff) String() string {
	if *o {
		return "on"
	}
	return "off"
}

// Set implements flag.Value.
func (o *OnOff) Set(s string) error {
	switch s {
	case "on":
		*o = true
	case "off":
		*o = false
	default:
		return fmt.Errorf("want on or off, not %q", s)
	}
	return nil
}

// LogLevel adds --log-level and returns a function that makes the logger.
func (f *Flags) LogLevel() func() *slog.Logger {
	level := new(slog.LevelVar)
	f.TextVar(level, "log-level", new(slog.LevelVar), "least `level` that is logged: debug, info, warn or error")
	return func() *slog.Logger {
		return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	}
}
