package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/observe/probe"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/event"
)

// Answers are what a mesh is asked in order to be judged by its journals, its clients'
// history and its pods' logs. A *mesh.Mesh gives them while it lives, and the artefacts of a
// run afterwards.
type Answers interface {
	Journal(ctx context.Context, node string) ([]event.Entry, error)
	History(ctx context.Context) ([]byte, error)
	Log(ctx context.Context, pod, container string) ([]byte, error)
}

// answers is who answers now.
func (r *Run) answers() Answers {
	if r.artefacts != nil {
		return r.artefacts
	}
	return r.Mesh
}

// artefacts are the files of one scenario of a finished run.
type artefacts struct{ files fs.FS }

// Journal implements Answers.
func (a *artefacts) Journal(_ context.Context, node string) ([]event.Entry, error) {
	f, err := a.files.Open("journal/" + node + ".jsonl")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return event.Read(f)
}

// History implements Answers.
func (a *artefacts) History(context.Context) ([]byte, error) {
	return fs.ReadFile(a.files, "history.jsonl")
}

// Log implements Answers.
func (a *artefacts) Log(_ context.Context, pod, container string) ([]byte, error) {
	if container != "" {
		return fs.ReadFile(a.files, "pods/"+pod+"."+container+".log")
	}
	names, err := fs.Glob(a.files, "pods/"+pod+".*.log")
	if err == nil && len(names) != 1 {
		err = fmt.Errorf("%d logs of %s, not one", len(names), pod)
	}
	if err != nil {
		return nil, err
	}
	return fs.ReadFile(a.files, names[0])
}

// episodesFile is the artefact that tells which faults there were, and when.
const episodesFile = "episodes.json"

// saved is that file.
type saved struct {
	Nodes    []string
	Baseline prom.Window
	Clocks   map[string]time.Duration `json:",omitempty"` // see Run.Skew; without those that nobody asked
	Guests   []Guest                  `json:",omitempty"` // none, too, if nobody asked
	Episodes []savedEpisode
}

// savedEpisode is one fault: Kind says which of the types of this package Fault is.
type savedEpisode struct {
	Kind  string
	Aside bool
	Fault json.RawMessage
}

// disturbed is what this package knows of a fault: it embeds the fault's episode.
type disturbed interface{ episode() *Episode }

func (e *Episode) episode() *Episode { return e }

// kinds are the types that an episode can be of, by the names that they are saved under.
var kinds = map[string]func() disturbed{
	"partition": func() disturbed { return &Partition{} },
	"attack":    func() disturbed { return &Attack{} },
	"crash":     func() disturbed { return &Crash{} },
	"delay":     func() disturbed { return &Delay{} },
	"stress":    func() disturbed { return &Stress{} },
	"failure":   func() disturbed { return &Failure{} },
	"replay":    func() disturbed { return &Replay{} },
	"storage":   func() disturbed { return &Storage{} },
	"skew":      func() disturbed { return &Skew{} },
}

// kindOf is the name of a fault's type.
func kindOf(f disturbed) string {
	for name, empty := range kinds {
		if reflect.TypeOf(empty()) == reflect.TypeOf(f) {
			return name
		}
	}
	return ""
}

// note remembers a fault for who judges the run again.
func note[F disturbed](r *Run, f F, err error) (F, error) {
	if err == nil {
		r.faults = append(r.faults, f)
	}
	return f, err
}

// save encodes the episodes.
func (r *Run) save() ([]byte, error) {
	s := saved{Nodes: r.Nodes, Baseline: r.Baseline, Clocks: r.clocks.all(), Guests: r.visited}
	for _, f := range r.faults {
		b, err := json.Marshal(f)
		if err != nil {
			return nil, err
		}
		s.Episodes = append(s.Episodes, savedEpisode{Kind: kindOf(f), Aside: f.episode().aside, Fault: b})
	}
	return json.MarshalIndent(s, "", " ")
}

// Reopen returns a finished run of a scenario from its artefacts, to be judged again.
func Reopen(sc *Scenario, files fs.FS) (*Run, error) {
	b, err := fs.ReadFile(files, episodesFile)
	if err != nil {
		return nil, err
	}
	var s saved
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", episodesFile, err)
	}
	r := &Run{Scenario: sc, Nodes: s.Nodes, Baseline: s.Baseline, visited: s.Guests, artefacts: &artefacts{files}}
	r.clocks.off = s.Clocks
	for _, saved := range s.Episodes {
		empty, ok := kinds[saved.Kind]
		if !ok {
			return nil, fmt.Errorf("%s: there is no fault of kind %q", episodesFile, saved.Kind)
		}
		f := empty()
		if err := json.Unmarshal(saved.Fault, f); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", episodesFile, saved.Kind, err)
		}
		e := f.episode()
		if e == nil {
			return nil, fmt.Errorf("%s: a %s without an episode", episodesFile, saved.Kind)
		}
		e.run, e.aside, e.healed = r, saved.Aside, !e.Window.End.IsZero()
		r.faults, r.episodes = append(r.faults, f), append(r.episodes, e)
	}
	logs, err := fs.Glob(files, "pods/*."+probe.Container+".log")
	if err != nil || len(logs) == 0 {
		return r, err
	}
	r.Probes, err = reread(files, r.Nodes, logs)
	return r, err
}

// reread reads what probers have said.
func reread(files fs.FS, nodes, logs []string) (*probe.Probes, error) {
	var readers []io.Reader
	var errs []error
	for _, l := range logs {
		f, err := files.Open(l)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		defer f.Close()
		readers = append(readers, f)
	}
	return probe.Read(nodes, readers...), errors.Join(errs...)
}
