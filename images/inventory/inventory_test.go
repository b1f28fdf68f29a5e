package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// workspace returns the output of `cargo metadata` for a package `agent` with a dependency of each kind.
func workspace(t *testing.T, licences map[string]string) (metadata, own string) {
	t.Helper()
	directory := t.TempDir()
	own = filepath.Join(directory, "LICENSE")
	if err := os.WriteFile(own, []byte("the project's licence\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	crate := func(name, source, kind, licence string) object {
		folder := filepath.Join(directory, name)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if text := licences[name]; text != "" {
			if err := os.WriteFile(filepath.Join(folder, "LICENSE-MIT"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		found := object{"id": name, "name": name, "version": "1.0.0", "license": licence,
			"manifest_path": filepath.Join(folder, "Cargo.toml"), "targets": []object{{"kind": []string{kind}}}}
		if source != "" {
			found["source"] = source
		}
		return found
	}
	dependency := func(name string, kind any) object {
		return object{"pkg": name, "dep_kinds": []object{{"kind": kind}}}
	}
	text, err := json.Marshal(object{
		"packages": []object{
			crate("agent", "", "bin", "Apache-2.0"), crate("linked", "registry", "lib", "MIT"),
			crate("below", "registry", "lib", "MIT/Apache-2.0"), crate("for-tests", "registry", "lib", "MIT"),
			crate("for-build", "registry", "lib", "MIT"), crate("macro", "registry", "proc-macro", "MIT"),
		},
		"resolve": object{"nodes": []object{
			{"id": "agent", "deps": []object{dependency("linked", nil), dependency("for-tests", "dev"),
				dependency("for-build", "build"), dependency("macro", nil)}},
			{"id": "linked", "deps": []object{dependency("below", nil)}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text), own
}

// inventory returns the CycloneDX document and the text with the licences.
func inventory(t *testing.T, licences map[string]string, extras ...string) (string, string, error) {
	t.Helper()
	metadata, own := workspace(t, licences)
	out := t.TempDir()
	sbom, text := filepath.Join(out, "sbom"), filepath.Join(out, "text")
	if err := run("agent", "1", []string{"agent"}, own, sbom, text, extras, strings.NewReader(metadata)); err != nil {
		return "", "", err
	}
	document, _ := os.ReadFile(sbom)
	all, _ := os.ReadFile(text)
	return string(document), string(all), nil
}

func TestWhatIsLinkedIsListedWithItsLicenceAndNothingElse(t *testing.T) {
	document, text, err := inventory(t, map[string]string{"linked": "of linked"})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"pkg:cargo/linked@1.0.0"`, `"pkg:cargo/below@1.0.0"`, `"MIT OR Apache-2.0"`} {
		if !strings.Contains(document, part) {
			t.Errorf("%s is missing in %s", part, document)
		}
	}
	for _, name := range []string{"for-tests", "for-build", "macro"} {
		if strings.Contains(document+text, name) {
			t.Errorf("%s is not linked", name)
		}
	}
	own, linked := strings.Index(text, "the project's licence"), strings.Index(text, "of linked")
	if own < 0 || linked < 0 || !strings.Contains(text[:own], "below 1.0.0") {
		t.Errorf("the licences are %s", text)
	}
}

func TestAPackageWithoutALicenceTextIsAnError(t *testing.T) {
	if _, _, err := inventory(t, nil); err == nil || !strings.Contains(err.Error(), "linked 1.0.0 (MIT) has no licence text") {
		t.Errorf("the error is %v", err)
	}
}

func TestWhatIsNoPackageIsListedToo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "copyright")
	if err := os.WriteFile(file, []byte("of the library"), 0o600); err != nil {
		t.Fatal(err)
	}
	document, text, err := inventory(t, map[string]string{"linked": "x"}, "glibc@2.36=LGPL-2.1-or-later="+file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(document, `"glibc@2.36"`) || !strings.Contains(text, "of the library") {
		t.Errorf("%s\n%s", document, text)
	}
}

func TestTheSameInputGivesTheSameBytes(t *testing.T) {
	first, _, _ := inventory(t, map[string]string{"linked": "x"})
	second, _, _ := inventory(t, map[string]string{"linked": "x"})
	if first == "" || first != second {
		t.Errorf("%s\n%s", first, second)
	}
}
