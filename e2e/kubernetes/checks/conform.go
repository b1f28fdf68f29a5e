package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/yannh/kubeconform/pkg/validator"
	"sigs.k8s.io/yaml"
)

// Kinds of other projects, whose schemas are not here.
var foreign = map[string]struct{}{"ServiceMonitor": {}, "SecurityContextConstraints": {}}

type schema = map[string]any

// conform validates objects in YAML with kubeconform, strictly: a field that the schema does not know is a fault. It derives
// the schemas from Kubernetes' own OpenAPI document and from files with CustomResourceDefinitions.
func conform(arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("name Kubernetes' swagger.json")
	}
	directory, err := os.MkdirTemp("", "schemas-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(directory)
	if err := writeBuiltIn(directory, arguments[0]); err != nil {
		return err
	}
	for _, file := range arguments[1:] {
		if err := writeCustom(directory, file); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	location := filepath.Join(directory, "{{.Group}}_{{.ResourceAPIVersion}}_{{.ResourceKind}}.json")
	tool, err := validator.New([]string{location}, validator.Opts{Strict: true, SkipKinds: foreign})
	if err != nil {
		return err
	}
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	return report(tool.Validate("stdin", io.NopCloser(bytes.NewReader(input))))
}

func report(results []validator.Result) error {
	var faults []error
	valid := 0
	for _, result := range results {
		switch result.Status {
		case validator.Valid:
			valid++
		case validator.Error, validator.Invalid:
			signature, err := result.Resource.Signature()
			if err != nil {
				return err
			}
			faults = append(faults, fmt.Errorf("%s %s: %w", signature.Kind, signature.Name, result.Err))
		}
	}
	if valid == 0 {
		faults = append(faults, errors.New("no object is valid"))
	}
	fmt.Printf("%d valid objects\n", valid)
	return errors.Join(faults...)
}

func write(directory, group, version, kind string, found schema) error {
	text, err := json.Marshal(found)
	if err != nil {
		return err
	}
	if group == "" {
		// kubeconform calls the core group so.
		group = version
	}
	name := fmt.Sprintf("%s_%s_%s.json", group, version, strings.ToLower(kind))
	return os.WriteFile(filepath.Join(directory, name), text, 0o600)
}

// writeBuiltIn writes a schema for each kind of Kubernetes.
func writeBuiltIn(directory, swagger string) error {
	text, err := os.ReadFile(swagger)
	if err != nil {
		return err
	}
	var document struct {
		Definitions map[string]schema `json:"definitions"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return err
	}
	definitions := document.Definitions
	for _, definition := range definitions {
		refuseUnknown(definition)
	}
	// The document says that these are always texts.
	definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] = schema{"type": []string{"string", "integer"}}
	definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] = schema{"type": []string{"string", "number"}}
	for name, definition := range definitions {
		kinds, _ := definition["x-kubernetes-group-version-kind"].([]any)
		for _, of := range kinds {
			kind := of.(schema)
			root := schema{"$ref": "#/definitions/" + name, "definitions": reachable(definitions, name)}
			err := write(directory, kind["group"].(string), kind["version"].(string), kind["kind"].(string), root)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// reachable returns the definitions that one refers to, directly or by others, and itself.
func reachable(definitions map[string]schema, name string) map[string]schema {
	found := map[string]schema{}
	var visit func(any)
	visit = func(at any) {
		switch at := at.(type) {
		case schema:
			for key, below := range at {
				name, isText := below.(string)
				name, isReference := strings.CutPrefix(name, "#/definitions/")
				switch {
				case key != "$ref" || !isText || !isReference:
					visit(below)
				case found[name] == nil:
					found[name] = definitions[name]
					visit(definitions[name])
				}
			}
		case []any:
			for _, below := range at {
				visit(below)
			}
		}
	}
	visit(schema{"$ref": "#/definitions/" + name})
	return found
}

// refuseUnknown lets a schema refuse fields that it does not name.
func refuseUnknown(at schema) {
	properties, _ := at["properties"].(schema)
	if properties != nil && at["additionalProperties"] == nil && at["x-kubernetes-preserve-unknown-fields"] != true {
		at["additionalProperties"] = false
	}
	for _, below := range properties {
		if below, isSchema := below.(schema); isSchema {
			refuseUnknown(below)
		}
	}
	for _, name := range []string{"items", "additionalProperties"} {
		if below, isSchema := at[name].(schema); isSchema {
			refuseUnknown(below)
		}
	}
}

// writeCustom writes the schemas of a file with a CustomResourceDefinition.
func writeCustom(directory, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var definition struct {
		Spec struct {
			Group    string
			Names    struct{ Kind string }
			Versions []struct {
				Name   string
				Schema struct{ OpenAPIV3Schema schema }
			}
		}
	}
	if err := yaml.Unmarshal(text, &definition); err != nil {
		return err
	}
	for _, version := range definition.Spec.Versions {
		root := version.Schema.OpenAPIV3Schema
		if root == nil {
			return errors.New("it is no CustomResourceDefinition with a schema")
		}
		// Every object has these, and definitions need not say so.
		properties := root["properties"].(schema)
		properties["apiVersion"], properties["kind"] = schema{"type": "string"}, schema{"type": "string"}
		properties["metadata"] = schema{"type": "object"}
		refuseUnknown(root)
		if err := write(directory, definition.Spec.Group, version.Name, definition.Spec.Names.Kind, root); err != nil {
			return err
		}
	}
	return nil
}
