// Package openb turns Alibaba's openb trace (cluster-trace-gpu-v2023) into a cluster on EC2.
package openb

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/cloudoptim/cloudoptim/services/lab/internal/dump"
)

// Config says which part of the trace is wanted.
type Config struct {
	MaxNodes int // 0: all
	CPUOnly  bool
	Fill     float64 // a node is left alone when that share of it is requested
	Seed     uint64
	Region   string
}

// Result is the cluster and what did not get into it.
type Result struct {
	Dump    *dump.Dump
	Dropped int // pods that fit on no node that still took some
}

// machine is a line of the node list.
type machine struct {
	name                      string
	cpuMilli, memoryMiB, gpus int64
}

// task is a line of the pod list. The trace says when it ran, not where.
type task struct {
	name, qos                 string
	cpuMilli, memoryMiB, gpus int64
	created, deleted          int64 // seconds of the trace
}

// shape is what tasks of one owner have in common.
type shape struct {
	qos                       string
	cpuMilli, memoryMiB, gpus int64
}

func (t task) shape() shape { return shape{t.qos, t.cpuMilli, t.memoryMiB, t.gpus} }

// Convert reads both lists, gzipped or not.
func Convert(nodes, pods io.Reader, c Config) (*Result, error) {
	machines, err := readMachines(nodes)
	if err != nil {
		return nil, fmt.Errorf("reading nodes: %w", err)
	}
	tasks, err := readTasks(pods)
	if err != nil {
		return nil, fmt.Errorf("reading pods: %w", err)
	}
	if c.CPUOnly {
		machines = slices.DeleteFunc(machines, func(m machine) bool { return m.gpus > 0 })
		tasks = slices.DeleteFunc(tasks, func(t task) bool { return t.gpus > 0 })
	}
	random := rand.New(rand.NewPCG(c.Seed, 0x0be4b))
	random.Shuffle(len(machines), func(i, j int) { machines[i], machines[j] = machines[j], machines[i] })
	if c.MaxNodes > 0 && c.MaxNodes < len(machines) {
		machines = machines[:c.MaxNodes]
	}
	if len(machines) == 0 {
		return nil, fmt.Errorf("converting: no nodes left")
	}
	b := newBuilder(c, random)
	if err := b.addNodes(machines); err != nil {
		return nil, err
	}
	b.addPods(aliveFirst(tasks))
	return &Result{Dump: b.out, Dropped: b.dropped}, nil
}

// aliveFirst puts the tasks that ran at the trace's busiest moment first: a
// cluster at one instant. The rest follow in order of time, for fleets that
// this moment does not fill.
func aliveFirst(tasks []task) []task {
	type change struct{ at, by int64 }
	var changes []change
	for _, t := range tasks {
		changes = append(changes, change{t.created, 1}, change{t.deleted, -1})
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.by, b.by)) })
	var alive, most, instant int64
	for _, ch := range changes {
		if alive += ch.by; alive > most {
			most, instant = alive, ch.at
		}
	}
	before := func(t task) int {
		if t.created <= instant && instant < t.deleted {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(tasks, func(a, b task) int {
		return cmp.Or(cmp.Compare(before(a), before(b)), cmp.Compare(a.created, b.created), cmp.Compare(a.name, b.name))
	})
	return tasks
}

func readMachines(r io.Reader) ([]machine, error) {
	var all []machine
	err := readCSV(r, func(l line) {
		all = append(all, machine{l.text("sn"), l.number("cpu_milli"), l.number("memory_mib"), l.number("gpu")})
	})
	return all, err
}

// readTasks keeps one whole GPU for a task that shares one: EC2's plain device
// plugin hands out no parts.
func readTasks(r io.Reader) ([]task, error) {
	var all []task
	err := readCSV(r, func(l line) {
		all = append(all, task{
			name: l.text("name"), qos: l.text("qos"),
			cpuMilli: l.number("cpu_milli"), memoryMiB: l.number("memory_mib"), gpus: l.number("num_gpu"),
			created: l.number("creation_time"), deleted: l.number("deletion_time"),
		})
	})
	return all, err
}

// line is a row by column names; the first bad cell is kept.
type line struct {
	columns map[string]int
	cells   []string
	bad     *error
}

func (l line) text(column string) string {
	i, ok := l.columns[column]
	if !ok {
		*l.bad = fmt.Errorf("no column %s", column)
		return ""
	}
	return l.cells[i]
}

// number takes an empty cell as 0: the trace leaves some out.
func (l line) number(column string) int64 {
	s := l.text(column)
	if s == "" {
		return 0
	}
	f, err := strconv.ParseFloat(s, 64) // some files write 12.0
	if err != nil {
		*l.bad = fmt.Errorf("column %s: %w", column, err)
	}
	return int64(f)
}

func readCSV(r io.Reader, row func(line)) error {
	plain, err := dump.Unzip(r)
	if err != nil {
		return err
	}
	in := csv.NewReader(plain)
	header, err := in.Read()
	if err != nil {
		return err
	}
	columns := map[string]int{}
	for i, name := range header {
		columns[name] = i
	}
	for n := 2; ; n++ {
		cells, err := in.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var bad error
		row(line{columns, cells, &bad})
		if bad != nil {
			return fmt.Errorf("line %d: %w", n, bad)
		}
	}
}
