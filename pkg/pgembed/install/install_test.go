package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pack makes an npm package of the given files.
func pack(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	packed := gzip.NewWriter(&out)
	writer := tar.NewWriter(packed)
	for name, text := range files {
		if err := writer.WriteHeader(&tar.Header{Name: name, Mode: 0o777, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := writer.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestUnpackKeepsTheProgramsAndMakesTheLinks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	err := unpack(pack(t, map[string]string{
		"package/package.json":            "{}",
		"package/scripts/install.js":      "harm()",
		"package/native/bin/postgres":     "program",
		"package/native/lib/libpq.so.5.1": "library",
		"package/native/pg-symlinks.json": `[{"source":"native/lib/libpq.so.5.1","target":"native/lib/libpq.so.5"}]`,
	}), dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "bin", "postgres")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("postgres: %v, %v; want mode 0755", info, err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "lib", "libpq.so.5")); err != nil || string(text) != "library" {
		t.Errorf("the link leads to %q, %v", text, err)
	}
	if found, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(found) != 3 {
		t.Errorf("unpacked %v, %v; want bin, lib and the list of links", found, err)
	}
}

func TestAPackageCannotWriteOutsideItsDirectory(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"by a path": {"package/native/../../../evil": "x"},
		"by a link": {"package/native/pg-symlinks.json": `[{"source":"native/a","target":"native/../../evil"}]`},
	} {
		t.Run(name, func(t *testing.T) {
			room := t.TempDir()
			if err := unpack(pack(t, files), filepath.Join(room, "tree")); err == nil {
				t.Error("it was unpacked")
			}
			if _, err := os.Lstat(filepath.Join(room, "evil")); err == nil {
				t.Error("it wrote outside")
			}
		})
	}
}

func TestOnlyThePinnedPackageIsAccepted(t *testing.T) {
	archive := []byte("package")
	sum := sha512.Sum512(archive)
	good := artefact{"p", "sha512-" + base64.StdEncoding.EncodeToString(sum[:])}
	if err := verify(archive, good); err != nil {
		t.Error(err)
	}
	if err := verify([]byte("packagE"), good); err == nil || !strings.Contains(err.Error(), good.integrity) {
		t.Errorf("a changed package: %v", err)
	}
}

func TestAMachineWithoutAPinIsToldWhatToDo(t *testing.T) {
	if _, err := artefactFor("plan9", "mips"); err == nil || !strings.Contains(err.Error(), "CLOUDOPTIM_PG_BIN") {
		t.Errorf("got %v", err)
	}
}
