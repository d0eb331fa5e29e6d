// Package replay lets policies that choose spot pools live through recorded
// preemptions, and counts what each would have paid and missed.
package replay

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
	"path/filepath"
	"slices"
	"strings"
)

// Trace is what one pool gave, tick by tick.
type Trace struct {
	// Folder groups traces that were recorded together, Name is the file's, such as
	// us-east-1a_v100_1.
	Folder, Name string
	// Seconds between ticks.
	Seconds float64
	// Up is how many instances could run.
	Up []int
	// Prices in USD per hour at each tick; empty: not recorded.
	Prices []float64
}

// Limits on what is read: the files are the user's, but a slip of the pen should not
// fill the memory.
const (
	fileLimit = 64 << 20
	tickLimit = 2_000_000
	mostUp    = 10_000
)

// parseTrace reads the format of SkyPilot's spot traces.
func parseTrace(raw []byte) (Trace, error) {
	var file struct {
		Metadata struct {
			GapSeconds float64 `json:"gap_seconds"`
		} `json:"metadata"`
		Data   []int     `json:"data"`
		Prices []float64 `json:"prices"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return Trace{}, fmt.Errorf("parsing: %w", err)
	}
	t := Trace{Seconds: file.Metadata.GapSeconds, Up: file.Data, Prices: file.Prices}
	return t, t.check()
}

// check that the figures make sense.
func (t Trace) check() error {
	switch {
	case !(t.Seconds >= 1 && t.Seconds <= 86400):
		return fmt.Errorf("gap_seconds is %v, want 1 to 86400", t.Seconds)
	case len(t.Up) == 0 || len(t.Up) > tickLimit:
		return fmt.Errorf("%d ticks, want 1 to %d", len(t.Up), tickLimit)
	case len(t.Prices) != 0 && len(t.Prices) != len(t.Up):
		return fmt.Errorf("%d prices for %d ticks", len(t.Prices), len(t.Up))
	}
	if i := slices.IndexFunc(t.Up, func(n int) bool { return n < 0 || n > mostUp }); i >= 0 {
		return fmt.Errorf("tick %d has %d instances, want 0 to %d", i, t.Up[i], mostUp)
	}
	if i := slices.IndexFunc(t.Prices, func(p float64) bool { return !(p > 0 && p < 1000) }); i >= 0 {
		return fmt.Errorf("tick %d has the price %v, want above 0 and below 1000", i, t.Prices[i])
	}
	return nil
}

// readTraces below a folder: .json files, and those in .tar.gz archives.
func readTraces(dir string) ([]Trace, error) {
	var all []Trace
	take := func(name string, raw []byte) error {
		t, err := parseTrace(raw)
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		t.Folder, t.Name = filepath.ToSlash(filepath.Dir(name)), strings.TrimSuffix(filepath.Base(name), ".json")
		all = append(all, t)
		return nil
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch {
		case strings.HasSuffix(path, ".json"):
			raw, err := readLimited(path)
			if err != nil {
				return err
			}
			return take(name, raw)
		case strings.HasSuffix(path, ".tar.gz"):
			return readArchive(path, take)
		}
		return nil
	})
	if err == nil && len(all) == 0 {
		err = errors.New("no traces (.json or .tar.gz) in " + dir)
	}
	return all, err
}

func readLimited(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return limited(file, path)
}

func limited(from io.Reader, name string) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(from, fileLimit+1))
	if err == nil && len(raw) > fileLimit {
		err = fmt.Errorf("%s is larger than %d bytes", name, fileLimit)
	}
	return raw, err
}

func readArchive(path string, take func(string, []byte) error) error {
	raw, err := readLimited(path)
	if err != nil {
		return err
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", path, err)
	}
	archive := tar.NewReader(unzipped)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unpacking %s: %w", path, err)
		}
		if header.Typeflag != tar.TypeReg || !strings.HasSuffix(header.Name, ".json") {
			continue
		}
		one, err := limited(archive, header.Name)
		if err != nil {
			return err
		}
		if err := take(header.Name, one); err != nil {
			return err
		}
	}
}
