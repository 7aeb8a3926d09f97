package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	yamlnode "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/runtime/schema"
	strictjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// FixtureError tells what is wrong with a fixture and where.
type FixtureError struct {
	File   string
	Line   int    // 0 where unknown
	Field  string // empty where unknown
	Reason string
}

func (e *FixtureError) Error() string {
	s := e.File
	if e.Line > 0 {
		s += ":" + strconv.Itoa(e.Line)
	}
	if e.Field != "" {
		s += ": " + e.Field
	}
	return s + ": " + e.Reason
}

// Load decodes the fixture of that name. A missing one is a *FixtureError that
// lists what there is.
func Load(fsys fs.FS, name string) (Object, error) {
	data, err := fs.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		names, globErr := fs.Glob(fsys, "*.yaml")
		if globErr != nil {
			return nil, globErr
		}
		return nil, &FixtureError{File: name, Reason: "unknown fixture, there are: " + strings.Join(names, ", ")}
	}
	if err != nil {
		return nil, &FixtureError{File: name, Reason: err.Error()}
	}
	return Decode(name, data)
}

// Check decodes every fixture, so that a broken one is found before anything
// is built on it.
func Check(fsys fs.FS) error {
	names, err := fs.Glob(fsys, "*.yaml")
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		_, err := Load(fsys, path.Clean(name))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Decode decodes one Chaos Mesh object from YAML as strictly as
// `kubectl apply --validate=strict` would: unknown and duplicate fields, wrong
// types and values that the webhooks would refuse are errors of type
// *FixtureError.
func Decode(file string, data []byte) (Object, error) {
	root, err := parse(file, data)
	if err != nil {
		return nil, err
	}
	fail := func(field, format string, args ...any) error {
		return &FixtureError{File: file, Line: lineOf(root, field), Field: field, Reason: fmt.Sprintf(format, args...)}
	}
	asJSON, err := yaml.YAMLToJSON(data)
	if err != nil {
		return nil, &FixtureError{File: file, Reason: err.Error()}
	}
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := json.Unmarshal(asJSON, &head); err != nil {
		return nil, fail("", "is not a Kubernetes object: %v", err)
	}
	if want := v1alpha1.SchemeGroupVersion.String(); head.APIVersion != want {
		return nil, fail("apiVersion", "is %q, must be %s", head.APIVersion, want)
	}
	object, ok := newObject(head.Kind)
	if !ok {
		return nil, fail("kind", "%q is not a kind that can be injected here (%s)", head.Kind, strings.Join(kinds(), ", "))
	}
	strict, err := strictjson.UnmarshalStrict(asJSON, object)
	if err != nil {
		var typeErr *json.UnmarshalTypeError
		if errors.As(err, &typeErr) {
			return nil, fail(typeErr.Field, "is a %s, must be a %s", typeErr.Value, typeErr.Type)
		}
		field, reason := splitJSONError(err.Error())
		return nil, fail(field, "%s", reason)
	}
	var errs []error
	for _, err := range strict {
		field, reason := splitJSONError(err.Error())
		errs = append(errs, fail(field, "%s", reason))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if err := validate(object, fail); err != nil {
		return nil, err
	}
	object.GetObjectKind().SetGroupVersionKind(schema.FromAPIVersionAndKind(head.APIVersion, head.Kind))
	return object, nil
}

func newObject(kind string) (Object, bool) {
	k, ok := v1alpha1.AllKinds()[kind]
	if !ok {
		return nil, false
	}
	o, ok := k.SpawnObject().(Object)
	return o, ok
}

// kinds lists the kinds that newObject knows.
func kinds() []string {
	var names []string
	for name := range v1alpha1.AllKinds() {
		if _, ok := newObject(name); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// validate checks what Chaos Mesh's webhooks and CRD enumerations would.
func validate(object Object, fail func(field, format string, args ...any) error) error {
	if object.GetName() == "" {
		return fail("metadata.name", "is missing")
	}
	for _, s := range selectors(object) {
		switch s.pods.Mode {
		case v1alpha1.OneMode, v1alpha1.AllMode, v1alpha1.FixedMode, v1alpha1.FixedPercentMode, v1alpha1.RandomMaxPercentMode:
		default:
			return fail(s.path+".mode", "%q is none of one, all, fixed, fixed-percent, random-max-percent", s.pods.Mode)
		}
	}
	defaulted, ok := object.DeepCopyObject().(Object)
	if !ok {
		return fmt.Errorf("%T: the copy has another type", object)
	}
	if err := defaulted.Default(context.Background(), defaulted); err != nil {
		return fail("", "cannot be defaulted: %v", err)
	}
	if _, err := defaulted.Validate(); err != nil {
		field, reason, ok := strings.Cut(err.Error(), ": ")
		if !ok {
			field, reason = "", err.Error()
		}
		return fail(lowerPath(field), "%s", reason)
	}
	return nil
}

// lowerPath turns a path of Go field names, as the webhooks print them, into
// one of JSON names.
func lowerPath(p string) string {
	parts := strings.Split(p, ".")
	for i, s := range parts {
		if s != "" {
			parts[i] = strings.ToLower(s[:1]) + s[1:]
		}
	}
	return strings.Join(parts, ".")
}

var (
	yamlLine  = regexp.MustCompile(`^yaml: (?:unmarshal errors:\s+)?line (\d+): (.*)$`)
	jsonField = regexp.MustCompile(`^(unknown|duplicate) field "([^"]+)"$`)
)

func splitJSONError(s string) (field, reason string) {
	if m := jsonField.FindStringSubmatch(strings.TrimPrefix(s, "json: ")); m != nil {
		return m[2], m[1] + " field"
	}
	return "", s
}

// parse reads exactly one YAML document as a tree that knows its lines.
func parse(file string, data []byte) (*yamlnode.Node, error) {
	syntax := func(err error) error {
		first, _, _ := strings.Cut(err.Error(), "\n")
		if m := yamlLine.FindStringSubmatch(strings.Join(strings.Fields(err.Error()), " ")); m != nil {
			line, convErr := strconv.Atoi(m[1])
			if convErr == nil {
				return &FixtureError{File: file, Line: line, Reason: m[2]}
			}
		}
		return &FixtureError{File: file, Reason: strings.TrimPrefix(first, "yaml: ")}
	}
	dec := yamlnode.NewDecoder(bytes.NewReader(data))
	var doc yamlnode.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, &FixtureError{File: file, Reason: "is empty"}
	} else if err != nil {
		return nil, syntax(err)
	}
	if doc.Kind != yamlnode.DocumentNode || len(doc.Content) != 1 || doc.Content[0].Kind != yamlnode.MappingNode {
		return nil, &FixtureError{File: file, Line: max(doc.Line, 1), Reason: "is not a mapping"}
	}
	var second yamlnode.Node
	if err := dec.Decode(&second); err == nil {
		return nil, &FixtureError{File: file, Line: second.Line, Reason: "a second document: one object per fixture"}
	} else if !errors.Is(err, io.EOF) {
		return nil, syntax(err)
	}
	var all map[string]any // finds duplicate keys, with their lines
	if err := doc.Decode(&all); err != nil {
		return nil, syntax(err)
	}
	return doc.Content[0], nil
}

// lineOf returns the line of a field given as a.b[0].c, or of the deepest of
// its parents that is there.
func lineOf(root *yamlnode.Node, field string) int {
	node, line := root, root.Line
	for part := range strings.SplitSeq(strings.ReplaceAll(field, "[", ".["), ".") {
		next := child(node, part)
		if next == nil {
			break
		}
		node, line = next.value, next.line
	}
	return line
}

type entry struct {
	value *yamlnode.Node
	line  int
}

func child(node *yamlnode.Node, part string) *entry {
	switch node.Kind {
	case yamlnode.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == part {
				return &entry{value: node.Content[i+1], line: node.Content[i].Line}
			}
		}
	case yamlnode.SequenceNode:
		i, err := strconv.Atoi(strings.Trim(part, "[]"))
		if err == nil && i >= 0 && i < len(node.Content) {
			return &entry{value: node.Content[i], line: node.Content[i].Line}
		}
	}
	return nil
}
