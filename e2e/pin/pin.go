// Package pin lists what the project pins, from the files in which it stands, and says of what is not at its newest
// version why it is not.
//
// A pin is a version that somebody chose: what a go.mod requires directly or for a tool, or puts in another's place; the
// Go toolchain; an image's tag; an action of a workflow; the LLVM by whose version Debian names its packages. What the go
// command chose for us (indirect requirements), and what Debian's release brings, is none.
package pin

import (
	"cmp"
	"fmt"
	"go/version"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Pin is a version of something that one file asks for.
type Pin struct {
	Name    string // one for each thing, also where it is known under several
	Version string // without the v; of a workflow's matrix all that are in it, separated by ", "
	Digest  string // an image's, or the commit of an action; empty if there is none
	At      string // the file, by its path in the project
}

// Names of what is pinned under several.
const (
	kubernetes    = "Kubernetes"
	libraries     = "Kubernetes' libraries"
	goToolchain   = "Go"
	etcd          = "etcd"
	prometheus    = "Prometheus"
	chaosMesh     = "Chaos Mesh"
	metricsServer = "metrics-server"
)

// names are the modules and images that are one thing.
var names = map[string]string{
	"k8s.io/kubernetes": kubernetes, "kindest/node": kubernetes, "x0tta6bl4/kind-node": kubernetes,
	"registry.k8s.io/kube-proxy": kubernetes,
	"go.etcd.io/etcd/server/v3":  etcd, "registry.k8s.io/etcd": etcd,
	"github.com/coredns/coredns": "CoreDNS", "registry.k8s.io/coredns/coredns": "CoreDNS",
	"github.com/prometheus/prometheus": prometheus, "prom/prometheus": prometheus,
	"github.com/chaos-mesh/chaos-mesh": chaosMesh, "x0tta6bl4/chaos-mesh": chaosMesh, "x0tta6bl4/chaos-daemon": chaosMesh,
	"sigs.k8s.io/metrics-server": metricsServer, "registry.k8s.io/metrics-server/metrics-server": metricsServer,
	"registry.k8s.io/pause": "pause",
}

// newPin returns a pin under its one name, with its version as the project writes it.
func newPin(name, versions, digest, at string) Pin {
	name = strings.TrimPrefix(name, "docker.io/")
	if one, ok := names[name]; ok {
		name = one
	}
	var all []string
	for v := range strings.SplitSeq(versions, ",") {
		all = append(all, written(name, strings.TrimSpace(v)))
	}
	return Pin{name, strings.Join(all, ", "), digest, at}
}

var (
	// prometheusModule is the version of a module of which the program is 3.N.P.
	prometheusModule = regexp.MustCompile(`^0\.3(\d\d)\.(\d+)$`)
	// imageBuild is what an image of etcd adds to its version.
	imageBuild = regexp.MustCompile(`-\d+$`)
	// commit is the end of the version of a module that no release holds.
	commit = regexp.MustCompile(`-([0-9a-f]{12})$`)
)

// written is a version of something without what only one of its places adds.
func written(name, v string) string {
	v = strings.TrimPrefix(v, "v")
	switch name {
	case etcd:
		return imageBuild.ReplaceAllString(v, "")
	case prometheus:
		if m := prometheusModule.FindStringSubmatch(v); m != nil {
			return "3." + strings.TrimPrefix(m[1], "0") + "." + m[2]
		}
	case chaosMesh:
		if m := commit.FindStringSubmatch(v); m != nil {
			return m[1]
		}
	}
	return v
}

// unnumbered tells whether an image is one of ours of which no version is told: it is what the repository holds.
func unnumbered(name, tag string) bool {
	return strings.HasPrefix(name, "x0tta6bl4/") && !fixed.MatchString(strings.TrimPrefix(tag, "v"))
}

// images is the package that names the images which are built here.
const images = "e2e/ground/image"

// All returns the pins in the files of a project, sorted. findings are left out: each says in which version it was seen.
// So are tests, which name any version. The error tells of a file that cannot be read or understood.
func All(files fs.FS) ([]Pin, error) {
	var pins []Pin
	least := map[string]string{} // the oldest Go that a go.mod is content with
	err := fs.WalkDir(files, ".", func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() {
			hidden := strings.HasPrefix(name, ".") && at != "." && name != ".github" && name != ".ci"
			if hidden || at == "findings" || at == "artifacts" {
				return fs.SkipDir
			}
			return nil
		}
		wanted := phrasesIn(at)
		module := path.Base(at) == "go.mod"
		if !module && len(wanted) == 0 {
			return nil
		}
		b, err := fs.ReadFile(files, at)
		if err != nil {
			return err
		}
		if module {
			found, lang, err := inModule(at, b)
			least[at], pins = lang, append(pins, found...)
			return err
		}
		for _, p := range wanted {
			pins = append(pins, p.find(at, string(b))...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	inCode, err := inSource(files, images)
	if err != nil {
		return nil, err
	}
	pins = append(pins, inCode...)
	// The project's own go.mod says which toolchain is taken. A module in it that wants a later one gets it, and then
	// there are two.
	chosen := least["go.mod"]
	for at, v := range least {
		if at == "go.mod" || version.Compare("go"+v, "go"+chosen) > 0 {
			pins = append(pins, newPin(goToolchain, v, "", at))
		}
	}
	slices.SortFunc(pins, func(a, b Pin) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.At, b.At), cmp.Compare(a.Digest, b.Digest))
	})
	return slices.Compact(pins), nil
}

// agree tells whether two versions can be of one thing: one of a matrix is enough, and 1.34 is 1.34.3 in less detail.
func agree(a, b string) bool {
	for x := range strings.SplitSeq(a, ", ") {
		for y := range strings.SplitSeq(b, ", ") {
			if x == y || strings.HasPrefix(x, y+".") || strings.HasPrefix(y, x+".") {
				return true
			}
		}
	}
	return false
}

// Disagreements returns a line for each two versions of one thing, and for each two digests of one version.
func Disagreements(pins []Pin) (wrong []string) {
	said := map[string]bool{}
	for i, a := range pins {
		for _, b := range pins[i+1:] {
			if a.Name != b.Name {
				continue
			}
			line := ""
			switch {
			case !agree(a.Version, b.Version):
				line = fmt.Sprintf("%s is %s in %s and %s in %s", a.Name, a.Version, a.At, b.Version, b.At)
			case a.Version == b.Version && a.Digest != "" && b.Digest != "" && a.Digest != b.Digest:
				line = fmt.Sprintf("%s %s is %s in %s and %s in %s", a.Name, a.Version, a.Digest, a.At, b.Digest, b.At)
			}
			if line != "" && !said[line] {
				said[line] = true
				wrong = append(wrong, line)
			}
		}
	}
	return wrong
}

var (
	// fixed is a version that means one thing for ever, or as long as a release is kept up: a number, or a commit.
	fixed = regexp.MustCompile(`^(?:\d+(?:\.\d+)*(?:[-+][\w.+-]*)?|[0-9a-f]{12,40})$`)
	// immovable is a digest of an image, or a whole commit.
	immovable = regexp.MustCompile(`^(?:sha256:[0-9a-f]{64}|[0-9a-f]{40})$`)
)

// Floats returns a line for each pin that means something else tomorrow: a tag such as latest, a branch, an action by its
// tag. allowed are the names of those that are to float, and why; a line tells of one that does not, or no longer.
func Floats(pins []Pin, allowed map[string]string) (wrong []string) {
	left := map[string]bool{}
	for name := range allowed {
		left[name] = true
	}
	for _, p := range pins {
		line := ""
		switch {
		case p.Digest != "" && !immovable.MatchString(p.Digest):
			line = fmt.Sprintf("%s in %s floats: %s is no digest", p.Name, p.At, p.Digest)
		case p.Version == "" && p.Digest != "":
			line = fmt.Sprintf("%s in %s has no version beside its digest", p.Name, p.At)
		default:
			for v := range strings.SplitSeq(p.Version, ", ") {
				if !fixed.MatchString(v) {
					line = fmt.Sprintf("%s in %s floats: its version is %q", p.Name, p.At, v)
				}
			}
		}
		if line == "" {
			continue
		}
		if _, ok := allowed[p.Name]; ok {
			delete(left, p.Name)
		} else {
			wrong = append(wrong, line)
		}
	}
	for name := range left {
		wrong = append(wrong, name+" may float, and does not")
	}
	slices.Sort(wrong)
	return wrong
}
