package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestARunReplacesWhatItMeasuredAndKeepsTheRest(t *testing.T) {
	old := []Result{{Name: "demo.warm_s", Value: 100, Commit: "a", Command: "go run ./services/bench -root /tree -only demo"}, {Name: "rest.p99_over_grpc", Value: 2, Commit: "a"}}
	got := merge(old, []Result{{Name: "rest.p99_over_grpc", Value: 1.5, Commit: "b"}, {Name: "a.new_s", Value: 7, Commit: "b"}})
	want := []Result{
		{Name: "a.new_s", Value: 7, Commit: "b"},
		{Name: "demo.warm_s", Value: 100, Commit: "a", Command: "go run ./services/bench -only demo"},
		{Name: "rest.p99_over_grpc", Value: 1.5, Commit: "b"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestResultsSurviveTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.json")
	if none, err := load(file); err != nil || none != nil {
		t.Fatalf("no file gave %v, %v", none, err)
	}
	want := []Result{
		{Name: "a", Value: 1.25, Unit: "s", Target: atMost(3), Against: "b & c", Machine: "2 cores", Commit: "abc", Command: "run"},
		{Name: "b", Value: 2, Unit: "s"},
	}
	if err := save(file, want); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"target": null`, `"target": 3`, `"b & c"`} {
		if !strings.Contains(string(raw), part) {
			t.Errorf("%s is not in\n%s", part, raw)
		}
	}
	got, err := load(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestABrokenFileIsNotOverwritten(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "services", "bench", "results.json")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("[{"), 0o644); err != nil {
		t.Fatal(err)
	}
	b := &bench{root: dir, results: []Result{{Name: "a"}}}
	if err := b.keep(); err == nil {
		t.Fatal("figures were written over a file that cannot be read")
	}
	if raw, _ := os.ReadFile(file); string(raw) != "[{" {
		t.Fatalf("the file is now %q", raw)
	}
}

func TestTableSaysWhatWasMissedAndNamesEachWayOnce(t *testing.T) {
	way := Result{Machine: "2 cores", Commit: "abc", Command: "go run ./services/bench"}
	row := func(name string, value float64, target *float64) Result {
		r := way
		r.Name, r.Value, r.Unit, r.Target = name, value, "s", target
		return r
	}
	want := "| figure | value | target | against | taken |\n| --- | ---: | ---: | --- | --- |\n" +
		"| `a` | 2101 s | ≤ 2100, **missed** |  | 1 |\n" +
		"| `b` | 3 s | ≤ 3, met |  | 1 |\n" +
		"| `c` | 0.12 s |  |  | 1 |\n" +
		"\nTaken:\n\n1. commit abc, `go run ./services/bench`, on 2 cores\n"
	got := table([]Result{row("a", 2101, atMost(2100)), row("b", 3, atMost(3)), row("c", 0.123, nil)})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestOnlyTheTableOfTheReadmeChanges(t *testing.T) {
	text := "# bench\n\n" + tableBegin + "\nold\n" + tableEnd + "\n\nafter\n"
	got, err := between(text, "new\n")
	if err != nil {
		t.Fatal(err)
	}
	if want := "# bench\n\n" + tableBegin + "\n\nnew\n\n" + tableEnd + "\n\nafter\n"; got != want {
		t.Fatalf("got %q", got)
	}
	again, err := between(got, "new\n")
	if err != nil || again != got {
		t.Fatalf("a second time gave %q, %v", again, err)
	}
	for _, broken := range []string{"none", tableBegin, tableEnd, tableEnd + tableBegin} {
		if _, err := between(broken, "new"); err == nil {
			t.Errorf("%q was taken for a readme", broken)
		}
	}
}

// The committed table is the one of the committed figures.
func TestReadmeHasTheTableOfTheFigures(t *testing.T) {
	all, err := load("results.json")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	want, err := between(string(raw), table(all))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(raw)); diff != "" {
		t.Fatal(diff)
	}
}

func TestPercentileIsAValueThatWasMeasured(t *testing.T) {
	var all []time.Duration
	for i := 200; i >= 1; i-- {
		all = append(all, time.Duration(i))
	}
	for p, want := range map[int]time.Duration{50: 100, 99: 198, 100: 200, 0: 1} {
		if got := percentile(all, p); got != want {
			t.Errorf("percentile %d is %d, want %d", p, got, want)
		}
	}
	if all[0] != 200 {
		t.Error("the measurements were put in another order")
	}
}

func TestMachineIsToldByWhatItHas(t *testing.T) {
	if got := total("MemTotal:       24683776 kB\nMemFree: 1 kB\n"); got != "24 GiB" {
		t.Errorf("memory is %q", got)
	}
	if got := system("NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n"); got != "Debian GNU/Linux 13 (trixie)" {
		t.Errorf("system is %q", got)
	}
}

func TestSubjectsThatDoNotExistAreRefused(t *testing.T) {
	for _, args := range [][]string{{"-only", "speed"}, {"-calls", "5"}} {
		if err := run(t.Context(), args); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}

func TestAColdRunSeesNoCacheOfThisMachine(t *testing.T) {
	dir := t.TempDir()
	makefile := "show:\n\t@echo $(GOCACHE) $(GOMODCACHE) $(CLOUDOPTIM_CACHE) $(PIP_CACHE_DIR) $(npm_config_cache) > seen\nbroken:\n\t@exit 3\n"
	if err := os.WriteFile(filepath.Join(dir, "Makefile"), []byte(makefile), 0o644); err != nil {
		t.Fatal(err)
	}
	at := place{dir: dir, scratch: dir, env: emptyCaches(dir)}
	took, err := at.make(t.Context(), "show")
	if err != nil || took <= 0 {
		t.Fatalf("took %s, %v", took, err)
	}
	seen, err := os.ReadFile(filepath.Join(dir, "seen"))
	if err != nil {
		t.Fatal(err)
	}
	folders := strings.Fields(string(seen))
	if len(folders) != 5 {
		t.Fatalf("caches are %q", folders)
	}
	for _, folder := range folders {
		if filepath.Dir(folder) != dir {
			t.Errorf("%s is not a fresh cache", folder)
		}
	}
	if _, err := at.make(t.Context(), "broken"); err == nil {
		t.Error("a command that failed was measured")
	}
}

func TestTheDemosReportBecomesFigures(t *testing.T) {
	file := filepath.Join(t.TempDir(), "demo.json")
	report := `{"steps_s":{"launch":11,"drain":76.5},"rss_bytes":{"central":104857600},"actual_savings_usd_month":9511,
		"cost_before_usd_hour":20.46,"cost_after_usd_hour":7.432,"estimated_savings_usd_month":10600}`
	if err := os.WriteFile(file, []byte(report), 0o600); err != nil {
		t.Fatal(err)
	}
	b := &bench{}
	if err := b.story(file); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, r := range b.results {
		got[r.Name] = r.Value
	}
	want := map[string]float64{
		"demo.step.launch_s": 11, "demo.step.drain_s": 76.5, "memory.central_after_demo_mib": 100,
		"demo.saved_usd_month": 9511, "demo.cost_before_usd_hour": 20.46, "demo.cost_after_usd_hour": 7.432,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	if err := os.WriteFile(file, []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.story(file); err == nil {
		t.Error("a demo without steps was taken for one")
	}
}

func TestAReplaysReportBecomesFigures(t *testing.T) {
	b := &bench{}
	report := `{"mean":[
		{"policy":"lowest_price","cost_over_clairvoyant":1.2,"availability":0.96,"interruptions_per_node_day":7},
		{"policy":"cloudoptim","cost_over_clairvoyant":1.1,"cost_over_on_demand":0.4,"availability":0.97,"short_minutes_per_node_day":20}]}`
	if err := b.mixes([]byte(report)); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, r := range b.results {
		got[r.Name] = r.Value
	}
	want := map[string]float64{
		"spot.cost_over_clairvoyant": 1.1, "spot.cost_over_on_demand": 0.4, "spot.cost_over_clairvoyant.lowest_price": 1.2,
		"spot.availability_pct.cloudoptim": 97, "spot.availability_pct.lowest_price": 96,
		"spot.short_minutes_per_node_day.cloudoptim": 20, "spot.short_minutes_per_node_day.lowest_price": 0,
		"spot.interruptions_per_node_day.cloudoptim": 0, "spot.interruptions_per_node_day.lowest_price": 7,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	for _, broken := range []string{"{", `{"mean":[{"policy":"lowest_price"}]}`} {
		if err := b.mixes([]byte(broken)); err == nil {
			t.Errorf("%s was taken for a report", broken)
		}
	}
}
