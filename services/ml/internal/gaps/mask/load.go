package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/gaps/series"
)

// real is a series as it was: one value at each step.
type real struct {
	name string
	step int64
	rows []series.Point
}

// load the series that are long enough to have weeks to compare.
func load(dir string) ([]real, error) {
	var all []real
	for file, read := range map[string]func(io.Reader) ([]real, error){
		"bitbrains-rnd-2013-07_09-hourly.jsonl.gz": bitbrains, "nab-aws-cloudwatch.tar.gz": cloudWatch,
	} {
		found, err := open(filepath.Join(dir, "usage-timeseries", file), read)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

func open(name string, read func(io.Reader) ([]real, error)) ([]real, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	zipped, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	return read(zipped)
}

// bitbrains has 500 virtual machines, an hour a step for three months.
func bitbrains(text io.Reader) ([]real, error) {
	var all []real
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var vm struct {
			VM    int        `json:"vm"`
			Start int64      `json:"start"`
			Step  int64      `json:"step_s"`
			CPU   []*float64 `json:"cpu_mhz_avg"`
			Mem   []*float64 `json:"mem_mib_avg"`
		}
		if err := json.Unmarshal(lines.Bytes(), &vm); err != nil {
			return nil, err
		}
		for name, values := range map[string][]*float64{"cpu": vm.CPU, "mem": vm.Mem} {
			r := real{name: fmt.Sprintf("bitbrains/%04d/%s", vm.VM, name), step: vm.Step * 1000}
			for i, v := range values {
				if v != nil {
					r.rows = append(r.rows, series.Point{At: vm.Start*1000 + int64(i)*r.step, Values: []float64{*v}})
				}
			}
			all = append(all, r)
		}
	}
	return all, lines.Err()
}

// cloudWatch has a dozen metrics of AWS, five minutes a step for two weeks or more.
func cloudWatch(text io.Reader) ([]real, error) {
	var all []real
	for archive := tar.NewReader(text); ; {
		file, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if !strings.HasSuffix(file.Name, ".csv") {
			continue
		}
		lines, err := csv.NewReader(archive).ReadAll()
		if err != nil {
			return nil, err
		}
		r := real{name: file.Name, step: 300_000}
		for _, line := range lines[1:] {
			at, err := time.Parse(time.DateTime, line[0])
			if err != nil {
				return nil, err
			}
			v, err := strconv.ParseFloat(line[1], 64)
			if err != nil {
				return nil, err
			}
			r.rows = append(r.rows, series.Point{At: at.UnixMilli(), Values: []float64{v}})
		}
		all = append(all, r)
	}
}
