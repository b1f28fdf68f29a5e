package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func layout(t *testing.T, architectures ...string) map[string][]byte {
	t.Helper()
	var images []*Image
	for _, architecture := range architectures {
		source := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(source, []byte("for "+architecture), 0o755); err != nil {
			t.Fatal(err)
		}
		image := &Image{Architecture: architecture, Entrypoint: []string{"/bin/program"}}
		if err := image.Add(source, "/bin/program"); err != nil {
			t.Fatal(err)
		}
		images = append(images, image)
	}
	content, err := Layout("registry.example/net/program:1", images)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for reader := tar.NewReader(bytes.NewReader(content)); ; {
		header, err := reader.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
}

func entries(t *testing.T, content []byte) []descriptor {
	t.Helper()
	var index struct{ Manifests []descriptor }
	if err := json.Unmarshal(content, &index); err != nil {
		t.Fatal(err)
	}
	return index.Manifests
}

func blob(files map[string][]byte, entry descriptor) []byte {
	return files["blobs/sha256/"+strings.TrimPrefix(entry.Digest, "sha256:")]
}

func TestOneArchitectureIsAnImage(t *testing.T) {
	files := layout(t, "amd64")
	root := entries(t, files["index.json"])
	if len(root) != 1 || root[0].MediaType != mediaManifest || root[0].Platform.Architecture != "amd64" {
		t.Fatalf("index.json has %+v", root)
	}
	if tag := root[0].Annotations["org.opencontainers.image.ref.name"]; tag != "1" {
		t.Fatalf("the tag is %q", tag)
	}
}

func TestSeveralArchitecturesAreAnIndexOfImages(t *testing.T) {
	files := layout(t, "amd64", "arm64")
	root := entries(t, files["index.json"])
	if len(root) != 1 || root[0].MediaType != mediaIndex {
		t.Fatalf("index.json has %+v", root)
	}
	if name := root[0].Annotations["io.containerd.image.name"]; name != "registry.example/net/program:1" {
		t.Fatalf("the name is %q", name)
	}
	var found []string
	for _, entry := range entries(t, blob(files, root[0])) {
		var manifest struct{ Config descriptor }
		var config struct{ Architecture string }
		if err := json.Unmarshal(blob(files, entry), &manifest); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(blob(files, manifest.Config), &config); err != nil {
			t.Fatal(err)
		}
		found = append(found, entry.Platform.Architecture+" "+config.Architecture)
	}
	if strings.Join(found, ",") != "amd64 amd64,arm64 arm64" {
		t.Fatalf("the index has %v", found)
	}
}
