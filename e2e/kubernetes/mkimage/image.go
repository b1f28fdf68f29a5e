package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"strings"
	"time"
)

// Media types of https://github.com/opencontainers/image-spec, v1.1.
const (
	mediaIndex    = "application/vnd.oci.image.index.v1+json"
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaConfig   = "application/vnd.oci.image.config.v1+json"
	mediaLayer    = "application/vnd.oci.image.layer.v1.tar"
)

// Image describes the content and configuration of an image for one architecture.
type Image struct {
	// Architecture is that of Go's GOARCH: amd64 or arm64.
	Architecture string
	User         string
	Entrypoint   []string

	files []file
}

type file struct {
	target  string
	content []byte
	mode    int64
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

// Add puts the file source at the path target.
func (image *Image) Add(source, target string) error {
	content, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	// Executable files are executable for all users, independent of the umask of the build.
	mode := int64(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	image.files = append(image.files, file{path.Clean(target), content, mode})
	return nil
}

// Layout returns the tar of an OCI layout: one image, or one index of images for several architectures.
func Layout(name string, images []*Image) ([]byte, error) {
	var blobs [][]byte
	var manifests []descriptor
	for _, image := range images {
		added, entry, err := image.blobs()
		if err != nil {
			return nil, err
		}
		blobs = append(blobs, added...)
		manifests = append(manifests, entry)
	}
	root := manifests[0]
	if len(images) > 1 {
		index, err := indexOf(manifests...)
		if err != nil {
			return nil, err
		}
		blobs = append(blobs, index)
		root = describe(mediaIndex, index)
	}
	root.Annotations = annotations(name)
	index, err := indexOf(root)
	if err != nil {
		return nil, err
	}
	var out archive
	out.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
	out.file("index.json", index, 0o644)
	for _, blob := range blobs {
		out.file("blobs/sha256/"+strings.TrimPrefix(digest(blob), "sha256:"), blob, 0o644)
	}
	return out.end()
}

// Returns the image's layer, configuration and manifest, and the manifest's entry in an index.
func (image *Image) blobs() ([][]byte, descriptor, error) {
	layer, err := image.layer()
	if err != nil {
		return nil, descriptor{}, err
	}
	config, err := json.Marshal(image.config(layer))
	if err != nil {
		return nil, descriptor{}, err
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2,
		"mediaType":     mediaManifest,
		"config":        describe(mediaConfig, config),
		"layers":        []descriptor{describe(mediaLayer, layer)},
	})
	if err != nil {
		return nil, descriptor{}, err
	}
	entry := describe(mediaManifest, manifest)
	entry.Platform = &platform{image.Architecture, "linux"}
	return [][]byte{layer, config, manifest}, entry, nil
}

func indexOf(entries ...descriptor) ([]byte, error) {
	return json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": mediaIndex, "manifests": entries})
}

// Returns the image's name for importers.
func annotations(name string) map[string]string {
	all := map[string]string{"io.containerd.image.name": name}
	if _, tag, ok := strings.Cut(name[strings.LastIndex(name, "/")+1:], ":"); ok {
		all["org.opencontainers.image.ref.name"] = tag
	}
	return all
}

func (image *Image) config(layer []byte) any {
	run := map[string]any{"WorkingDir": "/"}
	if len(image.Entrypoint) > 0 {
		run["Entrypoint"] = image.Entrypoint
	}
	if image.User != "" {
		run["User"] = image.User
	}
	return map[string]any{
		"architecture": image.Architecture,
		"os":           "linux",
		"config":       run,
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{digest(layer)}},
	}
}

func (image *Image) layer() ([]byte, error) {
	var out archive
	for _, file := range image.files {
		out.folders(path.Dir(file.target))
		out.file(strings.TrimPrefix(file.target, "/"), file.content, file.mode)
	}
	return out.end()
}

// archive is a tar in memory. It keeps the first error until it is closed.
type archive struct {
	buffer bytes.Buffer
	writer *tar.Writer
	made   map[string]bool
	err    error
}

// All times are equal, so that equal files give equal images.
var epoch = time.Unix(0, 0)

func (out *archive) folders(folder string) {
	if folder == "/" || folder == "." || out.made[folder] {
		return
	}
	out.folders(path.Dir(folder))
	if out.made == nil {
		out.made = map[string]bool{}
	}
	out.made[folder] = true
	out.write(&tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(folder, "/") + "/", Mode: 0o755}, nil)
}

func (out *archive) file(name string, content []byte, mode int64) {
	out.write(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}, content)
}

func (out *archive) write(header *tar.Header, content []byte) {
	if out.writer == nil {
		out.writer = tar.NewWriter(&out.buffer)
	}
	header.ModTime = epoch
	if out.err == nil {
		out.err = out.writer.WriteHeader(header)
	}
	if out.err == nil {
		_, out.err = out.writer.Write(content)
	}
}

func (out *archive) end() ([]byte, error) {
	if out.writer == nil {
		return nil, fmt.Errorf("there are no files to put into the image")
	}
	if out.err != nil {
		return nil, out.err
	}
	err := out.writer.Close()
	return out.buffer.Bytes(), err
}

func describe(mediaType string, blob []byte) descriptor {
	return descriptor{MediaType: mediaType, Digest: digest(blob), Size: len(blob)}
}

func digest(blob []byte) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256(blob))
}
