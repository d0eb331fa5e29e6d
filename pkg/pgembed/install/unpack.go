package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// prefix is where the package keeps bin, lib and share.
const prefix = "package/native/"

// unpack writes the package's programs to dir. os.Root keeps every path inside it.
func unpack(archive []byte, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // opened for reading names only
	packed, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return err
	}
	reader := tar.NewReader(packed)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return linkLibraries(root)
		}
		if err != nil {
			return err
		}
		name, ours := strings.CutPrefix(header.Name, prefix)
		if !ours || header.Typeflag != tar.TypeReg {
			continue
		}
		if err := write(root, name, header.FileInfo().Mode().Perm(), reader); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
}

func write(root *os.Root, name string, mode fs.FileMode, content io.Reader) (err error) {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	// All may read and nobody but the owner may write, whatever the archive says.
	file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode&0o755|0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = io.Copy(file, content)
	return err
}

// linkLibraries makes the symbolic links which npm packages can't carry and this one lists in a file.
func linkLibraries(root *os.Root) error {
	text, err := root.ReadFile("pg-symlinks.json")
	if err != nil {
		return fmt.Errorf("reading the list of links: %w", err)
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(text, &links); err != nil {
		return fmt.Errorf("reading the list of links: %w", err)
	}
	for _, link := range links {
		from := strings.TrimPrefix(link.Source, "native/")
		to := strings.TrimPrefix(link.Target, "native/")
		rel, err := filepath.Rel(path.Dir(to), from)
		if err != nil {
			return fmt.Errorf("linking %s: %w", to, err)
		}
		if err := root.Symlink(rel, to); err != nil {
			return fmt.Errorf("linking %s: %w", to, err)
		}
	}
	return nil
}
