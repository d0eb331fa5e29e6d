package tasks

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// Journal keeps tasks on disk, one file each, so that no task runs twice and no
// result is lost when the agent restarts. A file is replaced whole and synced:
// a crash leaves the old or the new one, never half of one.
type Journal struct {
	dir string
}

// Record is what the journal knows of a task.
type Record struct {
	// Task as it was offered; Attempt in it is the newest one.
	Task *fleetv1.Task
	// Deadline by this machine's clock.
	Deadline time.Time
	// Started is when its step first began, zero before.
	Started time.Time
	// Result is how it ended, nil before.
	Result *fleetv1.TaskResult
	// Local says that the agent decided the task, and that central has not offered it.
	Local bool
	// Acked is when central said that it has the result, zero before.
	Acked time.Time
}

type recordFile struct {
	Task     json.RawMessage `json:"task"`
	Deadline time.Time       `json:"deadline"`
	Started  time.Time       `json:"started"`
	Result   json.RawMessage `json:"result,omitempty"`
	Local    bool            `json:"local,omitempty"`
	Acked    time.Time       `json:"acked"`
}

// OpenJournal opens or makes the journal in a folder and returns what is in it.
// Files that cannot be read are put aside, not obeyed and not lost; the error
// then names them beside a journal that works.
func OpenJournal(dir string) (*Journal, []*Record, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("making the task journal: %w", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the task journal: %w", err)
	}
	j := &Journal{dir: dir}
	var records []*Record
	var problems []error
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		switch filepath.Ext(f.Name()) {
		case ".tmp":
			_ = os.Remove(path) // a write that a crash cut off; its task file is whole
		case ".json":
			r, err := readRecord(path)
			if err != nil {
				problems = append(problems, err, os.Rename(path, path+".unreadable"))
				continue
			}
			records = append(records, r)
		}
	}
	return j, records, errors.Join(problems...)
}

func readRecord(path string) (*Record, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading task file: %w", err)
	}
	var f recordFile
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("reading task file %s: %w", filepath.Base(path), err)
	}
	r := &Record{Task: &fleetv1.Task{}, Deadline: f.Deadline, Started: f.Started, Local: f.Local, Acked: f.Acked}
	if err := unmarshal(f.Task, r.Task); err != nil {
		return nil, fmt.Errorf("reading task file %s: %w", filepath.Base(path), err)
	}
	if len(f.Result) > 0 {
		r.Result = &fleetv1.TaskResult{}
		if err := unmarshal(f.Result, r.Result); err != nil {
			return nil, fmt.Errorf("reading result in task file %s: %w", filepath.Base(path), err)
		}
	}
	if r.Task.GetTaskId()+".json" != filepath.Base(path) {
		return nil, fmt.Errorf("task file %s speaks of task %q", filepath.Base(path), r.Task.GetTaskId())
	}
	return r, nil
}

// unmarshal lets fields pass that a newer build wrote, should it be rolled back.
func unmarshal(text []byte, m proto.Message) error {
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(text, m)
}

// Put writes a record and returns when it would survive a crash.
func (j *Journal) Put(r *Record) error {
	f := recordFile{Deadline: r.Deadline, Started: r.Started, Local: r.Local, Acked: r.Acked}
	var err error
	if f.Task, err = protojson.Marshal(r.Task); err != nil {
		return fmt.Errorf("encoding task %s: %w", r.Task.GetTaskId(), err)
	}
	if r.Result != nil {
		if f.Result, err = protojson.Marshal(r.Result); err != nil {
			return fmt.Errorf("encoding result of task %s: %w", r.Task.GetTaskId(), err)
		}
	}
	text, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encoding task %s: %w", r.Task.GetTaskId(), err)
	}
	if err := j.replace(j.path(r.Task.GetTaskId()), text); err != nil {
		return fmt.Errorf("writing task %s to the journal: %w", r.Task.GetTaskId(), err)
	}
	return nil
}

func (j *Journal) replace(path string, text []byte) error {
	tmp, err := os.CreateTemp(j.dir, "*.tmp")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // gone already unless something failed
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return err
	}
	return j.syncDir()
}

// syncDir makes a rename or removal itself survive a crash.
func (j *Journal) syncDir() error {
	dir, err := os.Open(j.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Delete forgets a task.
func (j *Journal) Delete(taskID string) error {
	if err := os.Remove(j.path(taskID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting task %s: %w", taskID, err)
	}
	return nil
}

// path is safe because task ids are checked to be UUIDs before they get here.
func (j *Journal) path(taskID string) string {
	return filepath.Join(j.dir, strings.ToLower(taskID)+".json")
}
