package pin

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/mod/modfile"
)

// release is a version of one of Kubernetes' own modules, 0.N.P where Kubernetes is 1.N.P.
var release = regexp.MustCompile(`^v0\.(\d+\.\d+)$`)

// inModule returns what a go.mod pins, and the Go that it asks for.
func inModule(at string, b []byte) (pins []Pin, lang string, err error) {
	f, err := modfile.Parse(at, b, nil)
	if err != nil {
		return nil, "", err
	}
	if f.Go == nil {
		return nil, "", fmt.Errorf("%s has no go line", at)
	}
	lang = f.Go.Version
	if f.Toolchain != nil {
		lang = strings.TrimPrefix(f.Toolchain.Name, "go")
	}
	replaced := map[string]bool{}
	for _, r := range f.Replace {
		replaced[r.Old.Path] = true
		switch m := release.FindStringSubmatch(r.New.Version); {
		case r.New.Version == "": // a directory
		case m != nil && strings.HasPrefix(r.Old.Path, "k8s.io/"): // what Kubernetes is built from has its versions
			pins = append(pins, newPin(kubernetes, "1."+m[1], "", at))
		default:
			pins = append(pins, newPin(r.New.Path, r.New.Version, "", at))
		}
	}
	tools := map[string]bool{} // the modules that tools are in
	for _, t := range f.Tool {
		of := ""
		for _, r := range f.Require {
			if p := r.Mod.Path; len(p) > len(of) && (t.Path == p || strings.HasPrefix(t.Path, p+"/")) {
				of = p
			}
		}
		tools[of] = true
	}
	for _, r := range f.Require {
		name := r.Mod.Path
		if replaced[name] || r.Indirect && !tools[name] {
			continue
		}
		if strings.HasPrefix(name, "k8s.io/") && release.MatchString(r.Mod.Version) {
			name = libraries
		}
		pins = append(pins, newPin(name, r.Mod.Version, "", at))
	}
	return pins, lang, nil
}

// reference is an image, by tag and perhaps by digest.
var reference = regexp.MustCompile(`^((?:[a-z0-9.-]+/)+[a-z0-9._-]+):(\w[\w.-]*)(?:@(sha256:[0-9a-f]{64}))?$`)

// inSource returns the images that the Go files of a directory name: in literals, in constants, and in sums of these.
func inSource(files fs.FS, dir string) ([]Pin, error) {
	paths, err := fs.Glob(files, dir+"/*.go")
	if err != nil {
		return nil, err
	}
	parsed, constants := map[string]*ast.File{}, map[string]ast.Expr{}
	for _, at := range paths {
		if strings.HasSuffix(at, "_test.go") {
			continue
		}
		b, err := fs.ReadFile(files, at)
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(token.NewFileSet(), at, b, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		parsed[at] = f
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, s := range g.Specs {
				if v, ok := s.(*ast.ValueSpec); ok && len(v.Values) == len(v.Names) {
					for i, n := range v.Names {
						constants[n.Name] = v.Values[i]
					}
				}
			}
		}
	}
	var pins []Pin
	for at, f := range parsed {
		ast.Inspect(f, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			s, ok := text(constants, e)
			if !ok {
				return true
			}
			// A constant's name says nothing that its definition does not.
			if _, name := e.(*ast.Ident); !name {
				if m := reference.FindStringSubmatch(s); m != nil && !unnumbered(m[1], m[2]) {
					pins = append(pins, newPin(m[1], m[2], m[3], at))
				}
			}
			return false
		})
	}
	return pins, nil
}

// text is the string that an expression is, if it is known without running anything.
func text(constants map[string]ast.Expr, e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		s, err := strconv.Unquote(e.Value)
		return s, err == nil
	case *ast.Ident:
		c, ok := constants[e.Name]
		if !ok {
			return "", false
		}
		return text(constants, c)
	case *ast.BinaryExpr:
		x, okX := text(constants, e.X)
		y, okY := text(constants, e.Y)
		return x + y, okX && okY && e.Op == token.ADD
	}
	return "", false
}

// phrase is a way in which files tell a version. text has a group version, and perhaps name and digest.
type phrase struct {
	in, text *regexp.Regexp
	name     string // where text has no such group
}

const (
	workflows = `^\.github/workflows/`
	anyYAML   = `^[^.].*\.ya?ml$`
)

var phrases = []phrase{
	say(workflows, `\buses:[ \t]+(?P<name>[\w.-]+/[\w./-]+)@(?P<digest>[^\s#]+)(?:[ \t]+#[ \t]*(?P<version>\S+))?`, ""),
	say(workflows, `\bruns-on:[ \t]+(?P<name>[a-z]+)-(?P<version>[\w.-]+)`, ""),
	say(workflows, `\bcontainer:[ \t]+(?P<name>[a-z]+):(?P<version>[\w.-]+)`, ""),
	// of a matrix: each is something of its own
	say(workflows, `\brelease:[ \t]+(?P<name>[a-z]+:(?P<version>[\w.-]+))`, ""),
	say(workflows, `\bkubernetes:[ \t]+\[(?P<version>[^\]]+)\]`, kubernetes),
	say(workflows, `\bgo-version:[ \t]+['"]?(?P<version>[\w.]+)`, goToolchain),
	say(anyYAML, `\b(?:image|pauseImage):[ \t]+"?(?P<name>[a-z0-9][a-z0-9./-]*)(?::(?P<version>\w[\w.-]*))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?`, ""),
	say(anyYAML, `\bvalue:[ \t]+"?(?P<name>registry\.k8s\.io/[a-z0-9./-]+):(?P<version>\w[\w.-]*)`, ""),
	say(anyYAML, `\brepository: (?P<name>[a-z0-9./-]+), tag: (?P<version>[\w.-]+)`, ""),
	say(`^manifests/chaos-mesh/crds\.yaml$`, `controller-gen\.kubebuilder\.io/version: (?P<version>\S+)`, "sigs.k8s.io/controller-tools"),
	say(`^manifests/chaos-mesh/render/main\.go$`, `"--kube-version", "(?P<version>[^"]*)"`, kubernetes),
	say(`^manifests/images/metrics-server/main\.go$`, `\bmetrics-server (?P<version>v[\d.]*\d)`, metricsServer),
	say(`^[^.].*\.md$`, `\b(?:kind node, Kubernetes|Kubernetes other than) (?P<version>v?\d+\.\d+(?:\.\d+)?)`, kubernetes),
	say(`^e2e/ground/image/node\.go$`, `-DVERSION=(?P<version>[\d.]*\d)`, "pause"),
	say(workflows+`|^Makefile$|^\.ci/|\.sh$|^[^.].*\.md$|^e2e/ground/host/host\.go$`, `\b(?:clang|clang-format|llvm|llvm-strip)[- ](?P<version>\d+)\b`, "LLVM"),
	say(workflows+`|^Makefile$|^\.ci/|\.sh$`, `\bgo (?:run|install|get)\b[^\n]*?(?P<name>[\w.-]+\.\w+/[\w./-]+)@(?P<version>[\w.+-]+)`, ""),
}

func say(in, text, name string) phrase {
	return phrase{regexp.MustCompile(in), regexp.MustCompile(text), name}
}

// phrasesIn are those that are looked for in a file.
func phrasesIn(at string) (all []phrase) {
	if base := path.Base(at); base == "CHANGELOG.md" || strings.HasSuffix(base, "_test.go") || strings.Contains(at, "/testdata/") {
		return nil // what was, and what never is
	}
	for _, p := range phrases {
		if p.in.MatchString(at) {
			all = append(all, p)
		}
	}
	return all
}

// find returns what the phrase says in a file's content.
func (p phrase) find(at, content string) (pins []Pin) {
	for _, m := range p.text.FindAllStringSubmatch(content, -1) {
		said := map[string]string{"name": p.name}
		for i, group := range p.text.SubexpNames() {
			if group != "" {
				said[group] = m[i]
			}
		}
		if !unnumbered(said["name"], said["version"]) {
			pins = append(pins, newPin(said["name"], said["version"], said["digest"], at))
		}
	}
	return pins
}
