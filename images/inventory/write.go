package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

type object = map[string]any

// Document returns a CycloneDX document in JSON. It has no time and no random number, so the same input gives the same bytes.
func Document(image, version string, components []Component) ([]byte, error) {
	listed := []object{}
	for _, component := range components {
		listed = append(listed, component.object())
	}
	root := object{"type": "container", "bom-ref": image, "name": image, "version": version}
	root["licenses"] = []object{{"license": object{"id": "Apache-2.0"}}}
	document := object{
		"$schema":     "http://cyclonedx.org/schema/bom-1.6.schema.json",
		"bomFormat":   "CycloneDX",
		"specVersion": "1.6",
		"version":     1,
		"metadata":    object{"component": root},
		"components":  listed,
	}
	text, err := json.MarshalIndent(document, "", "  ")
	return append(text, '\n'), err
}

func (c Component) object() object {
	found := object{"type": "library", "bom-ref": c.Name + "@" + c.Version, "name": c.Name, "version": c.Version}
	// CycloneDX wants SPDX expressions; some packages still write `/` for OR.
	found["licenses"] = []object{{"expression": strings.Join(strings.Fields(strings.ReplaceAll(c.Licence, "/", " OR ")), " ")}}
	if c.Crate {
		found["purl"] = fmt.Sprintf("pkg:cargo/%s@%s", c.Name, strings.ReplaceAll(c.Version, "+", "%2B"))
	}
	if c.Repository != "" {
		found["externalReferences"] = []object{{"type": "vcs", "url": c.Repository}}
	}
	return found
}

// Text returns all licences, each text once, below the names of those who give it.
func Text(image string, components []Component) string {
	var order []string
	owners := map[string][]string{}
	for _, component := range components {
		for _, text := range component.Texts {
			if owners[text] == nil {
				order = append(order, text)
			}
			owners[text] = append(owners[text], fmt.Sprintf("%s %s (%s)", component.Name, component.Version, component.Licence))
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "Licences of what is linked into %s.\n", image)
	for _, text := range order {
		fmt.Fprintf(&out, "\n%s\n\n", strings.Repeat("=", 80))
		for _, owner := range owners[text] {
			fmt.Fprintf(&out, "- %s\n", owner)
		}
		fmt.Fprintf(&out, "\n%s\n", text)
	}
	return out.String()
}
