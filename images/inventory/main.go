// inventory lists what is linked into a binary: as a CycloneDX document, and as a text with all licences.
//
//	cargo metadata --format-version 1 --filter-platform TARGET |
//	    inventory -image NAME -version VERSION -packages NAME,... -own LICENSE -sbom OUT.cdx.json -licences OUT.txt [EXTRA...]
//
// PACKAGES are packages of the workspace. What only build scripts, tests and procedural macros use is not linked, and left out.
// EXTRA is NAME@VERSION=LICENCE=FILE[,FILE...]: something that is linked and is no package of cargo's. The same input gives the
// same bytes. A package without a licence text is an error.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	image := flag.String("image", "", "the image's name")
	version := flag.String("version", "", "the image's version")
	packages := flag.String("packages", "", "packages of the workspace that the binary consists of")
	own := flag.String("own", "", "the workspace's licence, also for packages under Apache-2.0 that have no text")
	sbom := flag.String("sbom", "", "the CycloneDX document to write")
	licences := flag.String("licences", "", "the text to write")
	flag.Parse()
	if err := run(*image, *version, strings.Split(*packages, ","), *own, *sbom, *licences, flag.Args(), os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "inventory:", err)
		os.Exit(1)
	}
}

func run(image, version string, packages []string, own, sbom, licences string, extras []string, input io.Reader) error {
	var workspace Workspace
	if err := json.NewDecoder(input).Decode(&workspace); err != nil {
		return fmt.Errorf("cannot parse the output of `cargo metadata`: %w", err)
	}
	components, err := workspace.Linked(packages, own)
	if err != nil {
		return err
	}
	for _, extra := range extras {
		component, err := parseExtra(extra)
		if err != nil {
			return err
		}
		components = append(components, component)
	}
	document, err := Document(image, version, components)
	if err != nil {
		return err
	}
	if err := os.WriteFile(sbom, document, 0o644); err != nil {
		return err
	}
	return os.WriteFile(licences, []byte(Text(image, components)), 0o644)
}

func parseExtra(text string) (Component, error) {
	parts := strings.SplitN(text, "=", 3)
	if len(parts) != 3 {
		return Component{}, fmt.Errorf("%q is not NAME@VERSION=LICENCE=FILE", text)
	}
	name, version, _ := strings.Cut(parts[0], "@")
	component := Component{Name: name, Version: version, Licence: parts[1]}
	for _, file := range strings.Split(parts[2], ",") {
		if err := component.read(file); err != nil {
			return component, err
		}
	}
	return component, nil
}
