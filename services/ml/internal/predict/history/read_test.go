package history_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/predict/history"
)

// archive of traces by path.
func archive(t *testing.T, files map[string]string) *bytes.Buffer {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return &out
}

func TestTracesAreReadWithTheirNames(t *testing.T) {
	in := archive(t, map[string]string{
		"x/aws-02-15-2023/us-east-1a_v100_1.json":   `{"metadata": {"gap_seconds": 195}, "data": [0, 1, 1, 0]}`,
		"x/aws-04-19-2023/us-east-1b_intel_64.json": `{"metadata": {"gap_seconds": 34}, "data": [4, 1, 2], "prices": [1, 1, 1]}`,
		"x/gcp-04-30-2023/us-central1-a_c3-88.json": `{"metadata": {"gap_seconds": 30}, "data": [1]}`,
		"x/README.md": "not a trace",
	})
	data, err := history.ReadTraces(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(data.Series) != 3 {
		t.Fatalf("%d series, want 3", len(data.Series))
	}
	first := data.Series[0]
	if first.Type != "p3.2xlarge" || first.Region != "us-east-1" || first.Zone != "us-east-1a" || first.Start.Format(time.DateOnly) != "2023-02-15" ||
		first.Step != 195*time.Second || !slices.Equal(first.Lost, []int16{0, 0, 0, 1}) || !first.Probed {
		t.Errorf("got %+v", first)
	}
	if s := data.Series[1]; s.Type != "r5.16xlarge" || !slices.Equal(s.Lost, []int16{0, 3, 0}) {
		t.Errorf("got %+v", s)
	}
	if s := data.Series[2]; s.Region != "us-central1" || s.Zone != "us-central1-a" || s.Type != "c3-highcpu-88" {
		t.Errorf("got %+v", s)
	}
}

func TestTracesArePickedByPath(t *testing.T) {
	files := map[string]string{
		"a-01-01-2023/us-east-1a_v100_1.json": `{"metadata": {"gap_seconds": 60}, "data": [1]}`,
		"b-01-01-2023/us-east-1a_v100_1.json": `{"metadata": {"gap_seconds": 60}, "data": [1]}`,
	}
	data, err := history.ReadTraces(archive(t, files), regexp.MustCompile(`^b-`))
	if err != nil || len(data.Series) != 1 || data.Series[0].Set != "b-01-01-2023" {
		t.Errorf("got %+v, %v", data, err)
	}
	if _, err := history.ReadTraces(archive(t, files), regexp.MustCompile(`^c-`)); err == nil {
		t.Error("nothing was picked, and no error")
	}
}

func TestBadTracesAreRefusedWithTheReason(t *testing.T) {
	const path = "a-01-01-2023/us-east-1a_v100_1.json"
	for name, c := range map[string]struct{ path, text, want string }{
		"no interval":     {path, `{"data": [1]}`, "gap_seconds"},
		"half a unit":     {path, `{"metadata": {"gap_seconds": 60}, "data": [0.5]}`, "tick 0"},
		"less than none":  {path, `{"metadata": {"gap_seconds": 60}, "data": [1, -1]}`, "tick 1"},
		"too many prices": {path, `{"metadata": {"gap_seconds": 60}, "data": [1], "prices": [1, 2]}`, "2 prices"},
		"not JSON":        {path, `{`, "parsing"},
		"no date":         {"a/us-east-1a_v100_1.json", `{"metadata": {"gap_seconds": 60}, "data": [1]}`, "date"},
		"no zone":         {"a-01-01-2023/trace.json", `{"metadata": {"gap_seconds": 60}, "data": [1]}`, "ZONE_TYPE"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := history.ReadTraces(archive(t, map[string]string{c.path: c.text}), nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
		})
	}
}

const lives = `instance_type,region,availability_zone,started_at,ended_at,ended_by,price_over_on_demand
m5.large,us-east-1,us-east-1a,2026-01-01T00:00:00Z,2026-01-01T01:00:00Z,interruption,0.4
m5.large,us-east-1,us-east-1a,2026-01-01T00:02:00Z,2026-01-01T00:31:00Z,scale_in,
c5.large,us-east-1,us-east-1b,2026-01-01T00:30:00Z,2026-01-01T02:00:00Z,,
`

func TestLivesAreCountedAtEachTick(t *testing.T) {
	data, err := history.ReadCSV(strings.NewReader(lives))
	if err != nil {
		t.Fatal(err)
	}
	if len(data.Lives) != 3 || !data.Lives[0].Interrupted || data.Lives[1].Interrupted || data.Lives[0].PriceOverOnDemand != 0.4 {
		t.Fatalf("lives %+v", data.Lives)
	}
	s := data.Series[0] // us-east-1a, 5-minute ticks
	if s.Up[0] != 1 || s.Up[1] != 2 || s.Up[6] != 2 || s.Up[7] != 1 || s.Up[11] != 1 || s.Up[12] != 0 {
		t.Errorf("instances at each tick: %v", s.Up[:14])
	}
	if s.Lost[12] != 1 || s.Lost[7] != 0 {
		t.Errorf("an interruption at tick 12 alone is a loss: %v", s.Lost[:14])
	}
}

func TestJSONLinesSayTheSameAsCSV(t *testing.T) {
	jsonl := `{"instance_type":"m5.large","region":"us-east-1","availability_zone":"us-east-1a","started_at":"2026-01-01T00:00:00Z","ended_at":"2026-01-01T01:00:00Z","ended_by":"interruption","price_over_on_demand":0.4}

{"instance_type":"m5.large","region":"us-east-1","availability_zone":"us-east-1a","started_at":"2026-01-01T00:02:00Z","ended_at":"2026-01-01T00:31:00Z","ended_by":"scale_in"}
{"instance_type":"c5.large","region":"us-east-1","availability_zone":"us-east-1b","started_at":"2026-01-01T00:30:00Z","ended_at":"2026-01-01T02:00:00Z","ended_by":null}
`
	a, err := history.ReadCSV(strings.NewReader(lives))
	if err != nil {
		t.Fatal(err)
	}
	b, err := history.ReadJSONL(strings.NewReader(jsonl))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(a.Lives, b.Lives) || len(a.Series) != len(b.Series) {
		t.Errorf("CSV %+v, JSON Lines %+v", a.Lives, b.Lives)
	}
}

func TestObservationsHoldUntilTheNextButNotForLong(t *testing.T) {
	data, err := history.ReadCSV(strings.NewReader(`time,instance_type,region,availability_zone,units_up
2026-01-01T00:00:00Z,m5.large,us-east-1,us-east-1a,3
2026-01-01T00:12:00Z,m5.large,us-east-1,us-east-1a,1
2026-01-01T02:00:00Z,m5.large,us-east-1,us-east-1a,2
`))
	if err != nil {
		t.Fatal(err)
	}
	s := data.Series[0]
	want := []int16{3, 3, 3, 1, 1, 1, 1, 1, 1, -1}
	if !slices.Equal(s.Up[:10], want) || s.Up[24] != 2 || s.Lost[3] != 2 || s.Lost[24] != 0 || !s.Probed {
		t.Errorf("up %v, lost %v", s.Up, s.Lost)
	}
}

func TestBadTablesAreRefusedWithTheLine(t *testing.T) {
	head := "instance_type,region,availability_zone,started_at,ended_at,ended_by\n"
	for name, c := range map[string]struct{ text, want string }{
		"nothing":         {"", "header"},
		"no rows":         {head, "no observations"},
		"no type":         {head + ",r,z,2026-01-01T00:00:00Z,2026-01-01T00:00:00Z,\n", "line 2: instance_type"},
		"no time":         {head + "t,r,z,yesterday,2026-01-01T00:00:00Z,\n", "line 2: started_at"},
		"back in time":    {head + "t,r,z,2026-01-02T00:00:00Z,2026-01-01T00:00:00Z,\n", "before"},
		"four years":      {head + "t,r,z,2021-01-01T00:00:00Z,2026-01-01T00:00:00Z,\n", "three years"},
		"another width":   {head + "t,r\n", "wrong number of fields"},
		"not counts":      {"time,instance_type,region,availability_zone,units_up\n2026-01-01T00:00:00Z,t,r,z,many\n", "units_up"},
		"an absurd price": {head[:len(head)-1] + ",price_over_on_demand\nt,r,z,2026-01-01T00:00:00Z,2026-01-01T00:00:00Z,,-3\n", "price_over_on_demand"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := history.ReadCSV(strings.NewReader(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
		})
	}
}

// requireSound checks what the rest relies on.
func requireSound(t *testing.T, data *history.Data) {
	t.Helper()
	for _, s := range data.Series {
		if len(s.Up) == 0 || len(s.Up) != len(s.Lost) || s.Price != nil && len(s.Price) != len(s.Up) || s.Step <= 0 {
			t.Fatalf("series %s has %d ticks, %d losses, step %s", s.Pool, len(s.Up), len(s.Lost), s.Step)
		}
		for i := range s.Up {
			if s.Up[i] < history.Unknown || s.Lost[i] < 0 {
				t.Fatalf("tick %d: %d up, %d lost", i, s.Up[i], s.Lost[i])
			}
		}
	}
}

func FuzzReadCSV(f *testing.F) {
	f.Add([]byte(lives))
	f.Add([]byte("time,instance_type,region,availability_zone,units_up\n2026-01-01T00:00:00Z,t,r,z,1\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if data, err := history.ReadCSV(bytes.NewReader(raw)); err == nil {
			requireSound(t, data)
		}
	})
}

func FuzzReadJSONL(f *testing.F) {
	f.Add([]byte(`{"instance_type":"t","region":"r","availability_zone":"z","time":"2026-01-01T00:00:00Z","units_up":1}`))
	f.Add([]byte(`{"instance_type":"t","region":"r","availability_zone":"z","started_at":"2026-01-01T00:00:00Z","ended_at":"2026-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if data, err := history.ReadJSONL(bytes.NewReader(raw)); err == nil {
			requireSound(t, data)
		}
	})
}

func FuzzReadTraces(f *testing.F) {
	f.Add("a-01-01-2023/us-east-1a_v100_1.json", `{"metadata": {"gap_seconds": 60}, "data": [1, 0]}`)
	f.Add("a-13-41-2023/us-east-1a_.json", `{"metadata": {"gap_seconds": 1e300}, "data": [1e9]}`)
	f.Fuzz(func(t *testing.T, path, text string) {
		if len(path) > 90 || strings.ContainsRune(path, 0) {
			return // not a name that tar can hold
		}
		if data, err := history.ReadTraces(archive(t, map[string]string{path: text}), nil); err == nil {
			requireSound(t, data)
		}
	})
}

func FuzzReadTracesOfAnyBytes(f *testing.F) {
	f.Add([]byte{0x1f, 0x8b, 8})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if data, err := history.ReadTraces(bytes.NewReader(raw), nil); err == nil {
			requireSound(t, data)
		}
	})
}
