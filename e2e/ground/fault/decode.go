package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
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

// Check decodes every fixture, so that one that is broken, that the server would refuse or
// under which nothing could be judged is found before anything is built on it. The notes say
// what was passed over.
func Check(fsys fs.FS) (notes []string, err error) {
	_, notes, err = LoadAll(fsys)
	return notes, err
}

// LoadAll decodes every fixture, by the name of its file. The notes say what was passed over.
func LoadAll(fsys fs.FS) (objects map[string]Object, notes []string, err error) {
	names, err := fs.Glob(fsys, "*.yaml")
	if err != nil {
		return nil, nil, err
	}
	objects = map[string]Object{}
	var errs []error
	for _, name := range names {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			errs = append(errs, &FixtureError{File: name, Reason: err.Error()})
			continue
		}
		o, noted, err := decode(name, data)
		objects[name], notes, errs = o, append(notes, noted...), append(errs, err)
	}
	return objects, notes, errors.Join(errs...)
}

// Decode decodes one object from YAML as strictly as
// `kubectl apply --validate=strict` would, with the defaults of its schema: unknown and duplicate
// fields, wrong types, values that the server would refuse and faults that cannot be proven or
// judged are errors of type *FixtureError. Fields that a server writes are dropped.
func Decode(file string, data []byte) (Object, error) {
	o, _, err := decode(file, data)
	return o, err
}

func decode(file string, data []byte) (_ Object, notes []string, err error) {
	root, err := parse(file, data)
	if err != nil {
		return nil, nil, err
	}
	fail := func(field, format string, args ...any) error {
		return &FixtureError{File: file, Line: lineOf(root, field), Field: field, Reason: fmt.Sprintf(format, args...)}
	}
	asJSON, err := yaml.YAMLToJSON(data)
	if err != nil {
		return nil, nil, &FixtureError{File: file, Reason: err.Error()}
	}
	var fields map[string]any
	if err := strictjson.UnmarshalCaseSensitivePreserveInts(asJSON, &fields); err != nil {
		return nil, nil, fail("", "is not a Kubernetes object: %v", err)
	}
	for _, dropped := range dropServed(fields) {
		notes = append(notes, fail(dropped, "is written by the server, dropped").Error())
	}
	object, err := typed(fields, fail)
	if err != nil {
		return nil, nil, err
	}
	if asJSON, err = json.Marshal(fields); err != nil {
		return nil, nil, fail("", "%v", err)
	}
	if err := validate(object, asJSON, fail); err != nil {
		return nil, nil, err
	}
	plain(object)
	return object, notes, nil
}

// typed makes the object of what its YAML holds, into which it writes the defaults of its schema.
func typed(fields map[string]any, fail failure) (Object, error) {
	kind, _ := fields["kind"].(string)
	object, api, ok := newObject(kind)
	if !ok {
		return nil, fail("kind", "%q is not a kind that can be injected here (%s)", kind, strings.Join(kinds(), ", "))
	}
	if fields["apiVersion"] != api {
		return nil, fail("apiVersion", "is %v, must be %s", fields["apiVersion"], api)
	}
	if err := unmarshal(fields, object, fail); err != nil {
		return nil, err
	}
	if api == v1alpha1.SchemeGroupVersion.String() {
		s, err := schemaOf(kind)
		if err != nil {
			return nil, err
		}
		if err := admit(s, fields, fail); err != nil {
			return nil, err
		}
		if err := unmarshal(fields, object, fail); err != nil { // the defaults, too
			return nil, err
		}
	}
	object.GetObjectKind().SetGroupVersionKind(schema.FromAPIVersionAndKind(api, kind))
	return object, nil
}

// unmarshal writes fields into an object, which must have each of them.
func unmarshal(fields map[string]any, object Object, fail failure) error {
	asJSON, err := json.Marshal(fields)
	if err != nil {
		return fail("", "%v", err)
	}
	strict, err := strictjson.UnmarshalStrict(asJSON, object)
	if err != nil {
		var typeErr *json.UnmarshalTypeError
		if errors.As(err, &typeErr) {
			return fail(typeErr.Field, "is a %s, must be a %s", typeErr.Value, typeErr.Type)
		}
		field, reason := splitJSONError(err.Error())
		return fail(field, "%s", reason)
	}
	var errs []error
	for _, err := range strict {
		field, reason := splitJSONError(err.Error())
		errs = append(errs, fail(field, "%s", reason))
	}
	return errors.Join(errs...)
}

// admit holds fields against the schema of their kind and writes its defaults into them.
func admit(s *crdSchema, fields map[string]any, fail failure) error {
	var errs []error
	for _, unknown := range s.unknown(fields) {
		errs = append(errs, fail(unknown, "unknown field"))
	}
	for _, e := range s.admit(fields) {
		errs = append(errs, fail(e.Field, "%s", e.ErrorBody()))
	}
	return errors.Join(errs...)
}
