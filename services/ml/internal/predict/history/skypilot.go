package history

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"regexp"
	"strings"
	"time"
)

const (
	// Limits of an archive of traces. The public one has 34 files of 3 MB in all.
	mostArchive     = 256 << 20
	mostTraceFiles  = 4096
	mostTraceBytes  = 32 << 20
	longestTickStep = 24 * time.Hour
)

// traceTypes translates the archive's names of accelerators and counts.
var traceTypes = map[string]string{
	"v100_1": "p3.2xlarge", "v100_8": "p3.16xlarge", "k80_1": "p2.xlarge", "k80_8": "p2.8xlarge",
	"intel_64": "r5.16xlarge", "c3-88": "c3-highcpu-88",
}

var (
	traceFile = regexp.MustCompile(`^([a-z]+-[a-z]+-?[0-9]+)-?([a-z])_([A-Za-z0-9._-]+)\.json$`)
	traceDate = regexp.MustCompile(`([0-9]{2}-[0-9]{2}-[0-9]{4})$`)
)

// ReadTraces reads a tar.gz in the format of skypilot-org/spot-traces: a JSON
// file {metadata: {gap_seconds}, data: [instances up at each tick], prices?} per
// pool, named ZONE_TYPE.json in a folder whose name ends with the date of its
// start. match, if not nil, picks files by their path. The date has no hour:
// midnight UTC is taken, so hours of the day are right but for a shift.
func ReadTraces(in io.Reader, match *regexp.Regexp) (*Data, error) {
	unzip, err := gzip.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("decompressing the traces: %w", err)
	}
	archive := tar.NewReader(io.LimitReader(unzip, mostArchive))
	data := &Data{}
	for files := 0; ; {
		entry, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return data, data.sorted()
		}
		if err != nil {
			return nil, fmt.Errorf("reading the traces: %w", err)
		}
		if !strings.HasSuffix(entry.Name, ".json") || match != nil && !match.MatchString(entry.Name) {
			continue
		}
		if files++; files > mostTraceFiles || entry.Size > mostTraceBytes {
			return nil, fmt.Errorf("%s: more than %d traces or %d bytes in one", entry.Name, mostTraceFiles, mostTraceBytes)
		}
		s, err := readTrace(entry.Name, archive)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", entry.Name, err)
		}
		data.Series = append(data.Series, s)
	}
}

func readTrace(name string, in io.Reader) (*Series, error) {
	var file struct {
		Metadata struct {
			GapSeconds float64 `json:"gap_seconds"`
		} `json:"metadata"`
		Data   []float64 `json:"data"`
		Prices []float64 `json:"prices"`
	}
	if err := json.NewDecoder(io.LimitReader(in, mostTraceBytes)).Decode(&file); err != nil {
		return nil, fmt.Errorf("parsing: %w", err)
	}
	s, err := named(name)
	if err != nil {
		return nil, err
	}
	gap := file.Metadata.GapSeconds
	if !(gap >= 1) || gap > longestTickStep.Seconds() {
		return nil, fmt.Errorf("gap_seconds is %v, want 1 to %v", gap, longestTickStep.Seconds())
	}
	s.Step, s.Probed = time.Duration(gap*float64(time.Second)), true
	s.Up = make([]int16, len(file.Data))
	for i, v := range file.Data {
		if v != math.Trunc(v) || v < 0 || v > mostUnits {
			return nil, fmt.Errorf("tick %d has %v instances, want a count up to %d", i, v, mostUnits)
		}
		s.Up[i] = int16(v)
	}
	s.Lost = lost(s.Up)
	// Prices are in USD; without the on-demand price of that time they are no ratio.
	if n := len(file.Prices); n != 0 && n != len(s.Up) {
		return nil, fmt.Errorf("%d prices for %d ticks", n, len(s.Up))
	}
	return s, nil
}

// named reads pool, recording and start off a trace's path.
func named(name string) (*Series, error) {
	folder, base := path.Split(name)
	set := strings.TrimSuffix(folder, "/")
	found := traceFile.FindStringSubmatch(base)
	if found == nil {
		return nil, errors.New("the file is not named ZONE_TYPE.json")
	}
	date := traceDate.FindString(path.Base(set))
	start, err := time.Parse("01-02-2006", date)
	if err != nil {
		return nil, fmt.Errorf("the folder's name ends with no date such as 02-15-2023: %q", path.Base(set))
	}
	kind := found[3]
	if known, ok := traceTypes[kind]; ok {
		kind = known
	}
	region := found[1]
	zone := strings.TrimSuffix(base, "_"+found[3]+".json")
	return &Series{Pool: Pool{Type: kind, Region: region, Zone: zone}, Set: set, Start: start}, nil
}
