package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Workspace is what `cargo metadata` prints.
type Workspace struct {
	Packages []Package
	Resolve  struct{ Nodes []Node }
}

// Package is a package at one version.
type Package struct {
	ID, Name, Version, License, Repository string
	Source                                 *string
	ManifestPath                           string `json:"manifest_path"`
	Targets                                []struct{ Kind []string }
}

// Node has the dependencies of a package, as resolved for one target.
type Node struct {
	ID   string
	Deps []struct {
		Pkg      string
		DepKinds []struct{ Kind *string } `json:"dep_kinds"`
	}
}

// Component is something that is linked into a binary.
type Component struct {
	Name, Version, Licence, Repository string
	// Whether it is of this project.
	Own bool
	// Whether it comes from cargo's registry.
	Crate bool
	Texts []string
}

// Linked returns the packages that are linked into these packages of the workspace, sorted, with their licence texts.
func (w *Workspace) Linked(names []string, own string) ([]Component, error) {
	packages, nodes := map[string]Package{}, map[string]Node{}
	var todo []string
	for _, found := range w.Packages {
		packages[found.ID] = found
		if found.Source == nil && slices.Contains(names, found.Name) {
			todo = append(todo, found.ID)
		}
	}
	if len(todo) != len(names) {
		return nil, fmt.Errorf("the workspace does not have all of the packages %v", names)
	}
	for _, node := range w.Resolve.Nodes {
		nodes[node.ID] = node
	}
	seen := map[string]bool{}
	var components []Component
	for len(todo) > 0 {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[id] || packages[id].isMacro() {
			continue
		}
		seen[id] = true
		component, err := packages[id].component(own)
		if err != nil {
			return nil, err
		}
		components = append(components, component)
		todo = append(todo, nodes[id].linked()...)
	}
	slices.SortFunc(components, func(a, b Component) int {
		return strings.Compare(a.Name+"@"+a.Version, b.Name+"@"+b.Version)
	})
	return components, nil
}

func (p Package) isMacro() bool {
	return slices.ContainsFunc(p.Targets, func(target struct{ Kind []string }) bool {
		return slices.Contains(target.Kind, "proc-macro")
	})
}

// linked returns the dependencies that are neither for build scripts nor for tests.
func (n Node) linked() []string {
	var found []string
	for _, dependency := range n.Deps {
		for _, kind := range dependency.DepKinds {
			if kind.Kind == nil {
				found = append(found, dependency.Pkg)
			}
		}
	}
	return found
}

func (p Package) component(own string) (Component, error) {
	component := Component{Name: p.Name, Version: p.Version, Licence: p.License, Repository: p.Repository}
	if p.Source == nil {
		component.Own = true
		return component, component.read(own)
	}
	component.Crate = true
	directory := filepath.Dir(p.ManifestPath)
	entries, err := os.ReadDir(directory)
	if err != nil {
		return component, err
	}
	for _, entry := range entries {
		if entry.Type().IsRegular() && isLicence(entry.Name()) {
			if err := component.read(filepath.Join(directory, entry.Name())); err != nil {
				return component, err
			}
		}
	}
	switch {
	case len(component.Texts) > 0:
		return component, nil
	case slices.Contains(strings.FieldsFunc(p.License, isSeparator), "Apache-2.0"):
		// Nothing in this licence differs between those who give it.
		return component, component.read(own)
	default:
		return component, fmt.Errorf("%s %s (%s) has no licence text in %s", p.Name, p.Version, p.License, directory)
	}
}

func isSeparator(letter rune) bool { return strings.ContainsRune(" ()/", letter) }

func isLicence(file string) bool {
	for _, prefix := range []string{"LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"} {
		if strings.HasPrefix(strings.ToUpper(file), prefix) {
			return true
		}
	}
	return false
}

func (c *Component) read(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("cannot read the licence of %s: %w", c.Name, err)
	}
	c.Texts = append(c.Texts, strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n")))
	return nil
}
