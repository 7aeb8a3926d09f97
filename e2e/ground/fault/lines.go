package fault

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	yamlnode "go.yaml.in/yaml/v3"
)

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

// fieldPart is a name, or what stands in brackets: an index, or a key of a map.
var fieldPart = regexp.MustCompile(`[^.\[\]]+|\[[^\]]*\]`)

// lineOf returns the line of a field given as a.b[0].c or a.b[key], or of the deepest of
// its parents that is there.
func lineOf(root *yamlnode.Node, field string) int {
	node, line := root, root.Line
	for _, part := range fieldPart.FindAllString(field, -1) {
		next := child(node, strings.Trim(part, "[]"))
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
		i, err := strconv.Atoi(part)
		if err == nil && i >= 0 && i < len(node.Content) {
			return &entry{value: node.Content[i], line: node.Content[i].Line}
		}
	}
	return nil
}

// jsonPath turns a path of an object's Go fields, as Chaos Mesh's webhooks name them, into one of
// JSON names, as they stand in the YAML. What stands there as a JSON name already is kept.
func jsonPath(object any, goPath string) string {
	var names []string
	t := reflect.TypeOf(object)
	for part := range strings.SplitSeq(goPath, ".") {
		name, index, _ := strings.Cut(part, "[")
		for t != nil && (t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice) {
			t = t.Elem()
		}
		var f reflect.StructField
		known := false
		if t != nil && t.Kind() == reflect.Struct {
			f, known = t.FieldByName(name)
		}
		if !known {
			names, t = append(names, part), nil
			continue
		}
		t = f.Type
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == "" && strings.Contains(options, "inline") { // its fields stand where it does
			continue
		}
		if index != "" {
			tag += "[" + index
		}
		names = append(names, tag)
	}
	return strings.Join(names, ".")
}
