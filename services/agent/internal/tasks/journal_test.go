package tasks

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

func open(t interface {
	Helper()
	Fatal(...any)
}, dir string,
) (*Journal, map[string]*Record) {
	t.Helper()
	j, records, err := OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string]*Record{}
	for _, r := range records {
		byID[r.Task.GetTaskId()] = r
	}
	return j, byID
}

func TestJournalReturnsWhatWasPutLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "journal")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		ids := []string{uuid.NewString(), uuid.NewString(), uuid.NewString()}
		want := map[string]*Record{}
		j, _ := open(t, dir)
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			id := rapid.SampledFrom(ids).Draw(t, "id")
			switch rapid.SampledFrom([]string{"put", "finish", "delete", "reopen", "crash"}).Draw(t, "step") {
			case "put":
				want[id] = &Record{
					Task:     &fleetv1.Task{TaskId: id, TaskType: "drain_node", Attempt: rapid.Int32().Draw(t, "attempt")},
					Deadline: time.Unix(rapid.Int64Range(0, 1<<32).Draw(t, "deadline"), 5).UTC(),
				}
				err = j.Put(want[id])
			case "finish":
				if want[id] == nil {
					continue
				}
				want[id].Result = &fleetv1.TaskResult{
					TaskId: id, Status: "success", Logs: rapid.String().Draw(t, "logs"), ExecutedAt: timestamppb.New(time.Unix(7, 0)),
				}
				err = j.Put(want[id])
			case "delete":
				delete(want, id)
				err = j.Delete(id)
			case "crash": // in the middle of writing the next version
				err = os.WriteFile(filepath.Join(dir, id+"123.tmp"), []byte(`{"task":{"taskId":"`), 0o600)
				fallthrough
			case "reopen":
				j, _ = open(t, dir)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		_, got := open(t, dir)
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestUnreadableTaskFileIsPutAsideAndTheOthersWork(t *testing.T) {
	good := &Record{Task: &fleetv1.Task{TaskId: uuid.NewString()}}
	for name, text := range map[string]string{
		"empty":                "",
		"cut off":              `{"task":{"taskId":`,
		"another task's":       `{"task":{"taskId":"` + good.Task.TaskId + `"}}`,
		"not a task":           `{"task":5}`,
		"with a broken result": `{"task":{},"result":{"status":7}}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j, _ := open(t, dir)
			if err := j.Put(good); err != nil {
				t.Fatal(err)
			}
			bad := filepath.Join(dir, uuid.NewString()+".json")
			if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			j, records, err := OpenJournal(dir)
			if j == nil || err == nil || len(records) != 1 || records[0].Task.GetTaskId() != good.Task.TaskId {
				t.Fatalf("journal %v, records %v, error %v", j, records, err)
			}
			if kept, err := os.ReadFile(bad + ".unreadable"); err != nil || string(kept) != text {
				t.Fatalf("the file is %q, %v", kept, err)
			}
			if _, records, err = OpenJournal(dir); err != nil || len(records) != 1 {
				t.Fatalf("the second start sees %v, %v", records, err)
			}
		})
	}
}
