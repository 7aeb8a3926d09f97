package fault

import (
	"bytes"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"

	"github.com/x0tta6bl4/mesh/manifests"
)

// crdSchema is what a CustomResourceDefinition says of its objects.
type crdSchema struct {
	structural *structuralschema.Structural
	validator  validation.SchemaValidator
}

var (
	// crdKind finds the kind that a CustomResourceDefinition is of, as the API server's
	// generator indents it.
	crdKind = regexp.MustCompile(`(?m)^    kind: (\w+)$`)

	// Definitions holds the CRDs that are deployed, in YAML, by the kinds that they define. To
	// read one of them takes a hundredth of a second to a tenth.
	Definitions = sync.OnceValues(func() (map[string][]byte, error) {
		all, err := fs.ReadFile(manifests.System, "chaos-mesh/crds.yaml")
		if err != nil {
			return nil, err
		}
		byKind := map[string][]byte{}
		for doc := range bytes.SplitSeq(all, []byte("\n---\n")) {
			if m := crdKind.FindSubmatch(doc); m != nil {
				byKind[string(m[1])] = doc
			}
		}
		return byKind, nil
	})

	// schemas holds what each of them says.
	schemas = sync.OnceValues(func() (map[string]func() (*crdSchema, error), error) {
		definitions, err := Definitions()
		if err != nil {
			return nil, err
		}
		byKind := map[string]func() (*crdSchema, error){}
		for kind, doc := range definitions {
			byKind[kind] = sync.OnceValues(func() (*crdSchema, error) { return compile(doc) })
		}
		return byKind, nil
	})
)

// schemaOf returns the schema of one of Chaos Mesh's kinds.
func schemaOf(kind string) (*crdSchema, error) {
	all, err := schemas()
	if err != nil {
		return nil, err
	}
	one, ok := all[kind]
	if !ok {
		return nil, fmt.Errorf("the CRDs of Chaos Mesh have no kind %s", kind)
	}
	return one()
}

func compile(doc []byte) (*crdSchema, error) {
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(doc, &crd); err != nil {
		return nil, fmt.Errorf("the CRDs of Chaos Mesh: %w", err)
	}
	i := slices.IndexFunc(crd.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool {
		return v.Name == v1alpha1.SchemeGroupVersion.Version
	})
	if i < 0 || crd.Spec.Versions[i].Schema == nil {
		return nil, fmt.Errorf("CRD %s has no schema of version %s", crd.Name, v1alpha1.SchemeGroupVersion.Version)
	}
	var props apiextensions.JSONSchemaProps
	err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(crd.Spec.Versions[i].Schema.OpenAPIV3Schema, &props, nil)
	if err != nil {
		return nil, fmt.Errorf("CRD %s: %w", crd.Name, err)
	}
	s := &crdSchema{}
	if s.structural, err = structuralschema.NewStructural(&props); err != nil {
		return nil, fmt.Errorf("CRD %s: %w", crd.Name, err)
	}
	if s.validator, _, err = validation.NewSchemaValidator(&props); err != nil {
		return nil, fmt.Errorf("CRD %s: %w", crd.Name, err)
	}
	return s, nil
}

// unknown returns the fields of an object that the schema does not have: the server would
// drop them.
func (s *crdSchema) unknown(object map[string]any) []string {
	return pruning.PruneWithOptions(runtime.DeepCopyJSON(object), s.structural, true,
		structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
}

// admit writes the schema's defaults into an object, as the server does, and returns what it
// would refuse.
func (s *crdSchema) admit(object map[string]any) field.ErrorList {
	defaulting.Default(object, s.structural)
	return append(validation.ValidateCustomResource(nil, object, s.validator),
		listtype.ValidateListSetsAndMaps(nil, s.structural, object)...)
}
