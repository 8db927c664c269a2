package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Media types and structures of the OCI image specification 1.1; see
// https://github.com/opencontainers/image-spec/blob/v1.1.0/spec.md
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

type descriptor struct {
	MediaType string    `json:"mediaType"`
	Digest    string    `json:"digest"`
	Size      int       `json:"size"`
	Platform  *platform `json:"platform,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Manifests     []descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type config struct {
	Created      string  `json:"created"`
	Architecture string  `json:"architecture"`
	OS           string  `json:"os"`
	Config       process `json:"config"`
	RootFS       struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
	History []history `json:"history"`
}

type process struct {
	User       string
	Env        []string
	Entrypoint []string
	WorkingDir string
	Labels     map[string]string
}

type history struct {
	Created   string `json:"created"`
	CreatedBy string `json:"created_by"`
}

func newConfig(arch string, at time.Time, layers []layer, labels map[string]string) config {
	created := at.Format(time.RFC3339)
	c := config{Created: created, Architecture: arch, OS: "linux"}
	c.Config = process{User: user + ":" + user, Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin"}, Labels: labels}
	c.RootFS.Type = "layers"
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, l.diffID)
		c.History = append(c.History, history{Created: created, CreatedBy: "tools/image"})
	}
	return c
}

// A layout is a directory in the OCI image layout.
type layout struct{ dir string }

// newLayout empties what an earlier build left.
func newLayout(dir string) (*layout, error) {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, "oci-layout")); err != nil {
			return nil, fmt.Errorf("%s is not empty and no image layout: it is left as it is", dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return nil, err
	}
	l := &layout{dir}
	return l, os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
}

func (l *layout) add(mediaType string, data []byte) (descriptor, error) {
	d := descriptor{MediaType: mediaType, Digest: digest(data), Size: len(data)}
	return d, os.WriteFile(filepath.Join(l.dir, "blobs", "sha256", strings.TrimPrefix(d.Digest, "sha256:")), data, 0o644)
}

func (l *layout) addJSON(mediaType string, v any) (descriptor, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return descriptor{}, err
	}
	return l.add(mediaType, data)
}

// addImage returns the descriptor of the manifest, and how much there is to pull.
func (l *layout) addImage(c config, layers []layer) (descriptor, int64, error) {
	m := manifest{SchemaVersion: 2, MediaType: typeManifest}
	var size int64
	var err error
	if m.Config, err = l.addJSON(typeConfig, c); err != nil {
		return descriptor{}, 0, err
	}
	for _, layer := range layers {
		d, err := l.add(typeLayer, layer.blob)
		if err != nil {
			return descriptor{}, 0, err
		}
		m.Layers = append(m.Layers, d)
		size += int64(d.Size)
	}
	d, err := l.addJSON(typeManifest, m)
	return d, size + int64(m.Config.Size) + int64(d.Size), err
}

// finish writes the index of the platforms, whose digest is the image's, and
// the layout's own, which names that one.
func (l *layout) finish(manifests []descriptor, annotations map[string]string) (string, error) {
	d, err := l.addJSON(typeIndex, index{SchemaVersion: 2, MediaType: typeIndex, Manifests: manifests, Annotations: annotations})
	if err != nil {
		return "", err
	}
	data, err := json.Marshal(index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{d}})
	if err != nil {
		return "", err
	}
	return d.Digest, os.WriteFile(filepath.Join(l.dir, "index.json"), data, 0o644)
}

// writeTarball writes what "docker load" reads: see "docker image save" in
// Docker's reference.
func writeTarball(name, tag string, c config, layers []layer) error {
	configData, err := json.Marshal(c)
	if err != nil {
		return err
	}
	type entry struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	e := entry{Config: digest(configData), RepoTags: []string{tag}}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	put := func(name string, data []byte) {
		if err == nil {
			err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR})
		}
		if err == nil {
			_, err = w.Write(data)
		}
	}
	put(e.Config, configData)
	for _, l := range layers {
		file := strings.TrimPrefix(l.digest, "sha256:") + ".tar.gz"
		e.Layers = append(e.Layers, file)
		put(file, l.blob)
	}
	entries, jsonErr := json.Marshal([]entry{e})
	if jsonErr != nil {
		return jsonErr
	}
	put("manifest.json", entries)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return os.WriteFile(name, buf.Bytes(), 0o644)
}
