package backtest

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// track is a set of series that are judged together.
type track struct {
	name      string
	synthetic bool
	engine    bool // the whole engine with its pace; else its target alone, where the recording is too short for weeks
	folds     func(*series) []fold
	each      func(yield func(*series) error) error
}

const samplesPerHour = 12

// hourOf an average and a maximum: the recording has no more, so eleven samples share what
// the average leaves.
func hourOf(average, highest float64) []float64 {
	highest = max(highest, average)
	rest := max(0, (average*samplesPerHour-highest)/(samplesPerHour-1))
	values := make([]float64, samplesPerHour)
	for i := range values {
		values[i] = rest
	}
	values[0] = highest
	return values
}

// lines of a compressed file.
func lines(file string, each func([]byte) error) error {
	raw, err := os.Open(file)
	if err != nil {
		return err
	}
	defer raw.Close()
	unzip, err := gzip.NewReader(raw)
	if err != nil {
		return fmt.Errorf("decompressing %s: %w", file, err)
	}
	in := bufio.NewReaderSize(unzip, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			if err := each(line); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", file, err)
		}
	}
}

type bitbrainsVM struct {
	VM       int        `json:"vm"`
	Capacity float64    `json:"cpu_capacity_mhz"`
	Memory   float64    `json:"mem_provisioned_mib"`
	Start    int64      `json:"start"`
	CPU      []*float64 `json:"cpu_mhz_avg"`
	CPUMax   []*float64 `json:"cpu_mhz_max"`
	Mem      []*float64 `json:"mem_mib_avg"`
	MemMax   []*float64 `json:"mem_mib_max"`
}

// bitbrains machines, every so manieth; a MHz counts as a millicore.
func bitbrains(dir string, memory bool, every int, yield func(*series) error) error {
	n := 0
	return lines(filepath.Join(dir, "bitbrains-rnd-2013-07_09-hourly.jsonl.gz"), func(line []byte) error {
		if n++; (n-1)%every != 0 {
			return nil
		}
		var vm bitbrainsVM
		if err := json.Unmarshal(line, &vm); err != nil {
			return fmt.Errorf("parsing machine %d: %w", n, err)
		}
		s := &series{name: fmt.Sprintf("vm-%d", vm.VM), memory: memory, provisioned: vm.Capacity}
		average, highest := vm.CPU, vm.CPUMax
		if memory {
			average, highest, s.provisioned = vm.Mem, vm.MemMax, vm.Memory
		}
		for i, v := range average {
			if v != nil && i < len(highest) && highest[i] != nil {
				s.add(vm.Start/3600+int64(i), hourOf(*v, *highest[i]))
			}
		}
		return yield(s)
	})
}

// planetlabDates of the recording, in order.
var planetlabDates = []string{"20110303", "20110306", "20110309", "20110322", "20110325", "20110403", "20110409", "20110411", "20110412", "20110420"}

// planetlab machines that were recorded on several days; percent of one core.
func planetlab(dir string, every int, yield func(*series) error) error {
	var names []string
	days := map[string]map[string][]float64{}
	err := lines(filepath.Join(dir, "planetlab-2011-cpu-pct-5min.csv.gz"), func(line []byte) error {
		parts := strings.SplitN(strings.TrimSpace(string(line)), ",", 3)
		if len(parts) != 3 || parts[0] == "date" {
			return nil
		}
		if days[parts[1]] == nil {
			names = append(names, parts[1])
			days[parts[1]] = map[string][]float64{}
		}
		values, err := millicores(parts[2])
		days[parts[1]][parts[0]] = values
		return err
	})
	for i := 0; i < len(names) && err == nil; i += every {
		var s *series
		if s, err = planetlabMachine(names[i], days[names[i]]); err == nil {
			err = yield(s)
		}
	}
	return err
}

// millicores of percents of a core.
func millicores(text string) ([]float64, error) {
	var values []float64
	for _, percent := range strings.Fields(text) {
		v, err := strconv.ParseFloat(percent, 64)
		if err != nil {
			return nil, fmt.Errorf("parsing a percentage: %w", err)
		}
		values = append(values, v*10)
	}
	return values, nil
}

func planetlabMachine(name string, days map[string][]float64) (*series, error) {
	s := &series{name: name, provisioned: 1000}
	for _, d := range planetlabDates {
		at, err := time.Parse("20060102", d)
		if err != nil {
			return nil, err
		}
		values := days[d]
		for h := 0; (h+1)*samplesPerHour <= len(values); h++ {
			s.add(at.Unix()/3600+int64(h), values[h*samplesPerHour:(h+1)*samplesPerHour])
		}
	}
	return s, nil
}

// podMemory is the size taken for a pod of the Alibaba trace, which has shares alone, MiB.
const podMemory = 16384

func alibaba(dir string, every int, yield func(*series) error) error {
	n := 0
	return lines(filepath.Join(dir, "alibaba-genai-2026-pod-mem-util-1min.jsonl.gz"), func(line []byte) error {
		var pod struct {
			Pod   string     `json:"pod"`
			Start float64    `json:"start"`
			Step  float64    `json:"step_s"`
			Util  []*float64 `json:"mem_util"`
		}
		if err := json.Unmarshal(line, &pod); err != nil {
			return fmt.Errorf("parsing a pod: %w", err)
		}
		if n++; pod.Pod == "" || (n-1)%every != 0 {
			return nil
		}
		s := &series{name: pod.Pod, memory: true, provisioned: podMemory}
		at, values := int64(0), []float64(nil)
		for i, v := range pod.Util {
			this := int64(pod.Start+float64(i)*pod.Step) / 3600
			if this != at && len(values) > 0 {
				s.add(at, values)
				values = nil
			}
			if at = this; v != nil {
				values = append(values, *v*podMemory)
			}
		}
		if len(values) > 0 {
			s.add(at, values)
		}
		return yield(s)
	})
}

// nab is CPU percent of machines, from CloudWatch.
func nab(dir string, yield func(*series) error) error {
	raw, err := os.Open(filepath.Join(dir, "nab-aws-cloudwatch.tar.gz"))
	if err != nil {
		return err
	}
	defer raw.Close()
	unzip, err := gzip.NewReader(raw)
	if err != nil {
		return fmt.Errorf("decompressing: %w", err)
	}
	for archive := tar.NewReader(unzip); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the archive: %w", err)
		}
		name := filepath.Base(header.Name)
		if !strings.Contains(name, "cpu_utilization") {
			continue
		}
		s, err := nabFile(name, archive)
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		if err := yield(s); err != nil {
			return err
		}
	}
}

func nabFile(name string, in io.Reader) (*series, error) {
	s := &series{name: name, provisioned: 1000}
	at, values := int64(0), []float64(nil)
	for rows := bufio.NewScanner(in); rows.Scan(); {
		when, text, _ := strings.Cut(rows.Text(), ",")
		t, err := time.Parse(time.DateTime, when)
		if err != nil {
			continue // the header
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		if this := t.Unix() / 3600; this != at {
			if len(values) > 0 && (len(s.hours) == 0 || s.hours[len(s.hours)-1].at < at) {
				s.add(at, values)
			}
			at, values = this, nil
		}
		values = append(values, v*10)
	}
	return s, nil
}
