package history

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Columns of the two kinds of tables, as CSV with a header or as JSON Lines with
// the same names. Times are RFC 3339.
//
// Lives of instances, one a row:
//
//	instance_type,region,availability_zone,started_at,ended_at,ended_by,price_over_on_demand
//
// ended_by is interruption where AWS took the instance back; anything else, or
// nothing, means that it was ended otherwise or still ran at ended_at (censored).
//
// Observations of pools, one for each pool and time:
//
//	time,instance_type,region,availability_zone,units_up,price_over_on_demand
//
// units_up is the number of instances that the pool gave of those always wanted
// from it. price_over_on_demand may be left out of both.
const (
	colType, colRegion, colZone     = "instance_type", "region", "availability_zone"
	colStarted, colEnded, colReason = "started_at", "ended_at", "ended_by"
	colTime, colUnits, colPrice     = "time", "units_up", "price_over_on_demand"
	byInterruption                  = "interruption"
	mostLine                        = 64 << 10
	mostName                        = 50
)

// record is one row by column name.
type record map[string]string

// ReadCSV reads a table of lives or of observations, told apart by the header.
func ReadCSV(in io.Reader) (*Data, error) {
	table := csv.NewReader(in)
	table.ReuseRecord = true
	header, err := table.Read()
	if err != nil {
		return nil, fmt.Errorf("reading the header: %w", err)
	}
	header = slices.Clone(header)
	b := newTableBuilder()
	for line := 2; ; line++ {
		row, err := table.Read()
		if errors.Is(err, io.EOF) {
			return b.data()
		}
		if err != nil {
			return nil, fmt.Errorf("reading the table: %w", err)
		}
		r := record{}
		for i, name := range header {
			r[strings.TrimSpace(name)] = strings.TrimSpace(row[i])
		}
		if err := b.add(r); err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
	}
}

// ReadJSONL reads the same tables with one JSON object a line.
func ReadJSONL(in io.Reader) (*Data, error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 4096), mostLine)
	b := newTableBuilder()
	for line := 1; lines.Scan(); line++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		r, err := parseObject(text)
		if err == nil {
			err = b.add(r)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading lines: %w", err)
	}
	return b.data()
}

func parseObject(text string) (record, error) {
	var object map[string]any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&object); err != nil {
		return nil, fmt.Errorf("parsing: %w", err)
	}
	r := record{}
	for name, value := range object {
		switch v := value.(type) {
		case string:
			r[name] = v
		case json.Number:
			r[name] = v.String()
		case nil:
		default:
			return nil, fmt.Errorf("%s is neither text nor number", name)
		}
	}
	return r, nil
}

// tableBuilder gathers rows of one kind.
type tableBuilder struct {
	lives []Life
	seen  map[Pool][]observation
	count int
}

type observation struct {
	at    time.Time
	up    int16
	price float64
}

func newTableBuilder() *tableBuilder { return &tableBuilder{seen: map[Pool][]observation{}} }

func (b *tableBuilder) add(r record) error {
	pool := Pool{Type: r[colType], Region: r[colRegion], Zone: r[colZone]}
	for _, name := range []string{colType, colRegion, colZone} {
		if r[name] == "" || len(r[name]) > mostName {
			return fmt.Errorf("%s must have 1 to %d characters", name, mostName)
		}
	}
	price, err := r.price()
	if err != nil {
		return err
	}
	if b.count++; b.count > MostTicks {
		return fmt.Errorf("more than %d rows: take a shorter window", MostTicks)
	}
	if _, isLife := r[colStarted]; isLife {
		return b.addLife(r, pool, price)
	}
	return b.addObservation(r, pool, price)
}

func (b *tableBuilder) addLife(r record, pool Pool, price float64) error {
	start, err := r.time(colStarted)
	if err != nil {
		return err
	}
	end, err := r.time(colEnded)
	if err != nil {
		return err
	}
	if end.Before(start) {
		return fmt.Errorf("%s is before %s", colEnded, colStarted)
	}
	if len(b.lives) >= MostLives {
		return fmt.Errorf("more than %d lives: take a shorter window", MostLives)
	}
	b.lives = append(b.lives, Life{Pool: pool, Start: start, End: end, Interrupted: r[colReason] == byInterruption, PriceOverOnDemand: price})
	return nil
}

func (b *tableBuilder) addObservation(r record, pool Pool, price float64) error {
	at, err := r.time(colTime)
	if err != nil {
		return err
	}
	units, err := strconv.ParseInt(r[colUnits], 10, 16)
	if err != nil || units < 0 || units > mostUnits {
		return fmt.Errorf("%s is %q, want a count up to %d", colUnits, r[colUnits], mostUnits)
	}
	b.seen[pool] = append(b.seen[pool], observation{at, int16(units), price})
	return nil
}

func (b *tableBuilder) data() (*Data, error) {
	if len(b.lives) > 0 && len(b.seen) > 0 {
		return nil, errors.New("some rows are lives and some observations: give each kind a file of its own")
	}
	data := &Data{Lives: b.lives}
	var err error
	if len(b.lives) > 0 {
		data.Series, err = rasterize(b.lives, b.lives[0].End)
	} else {
		data.Series, err = resample(b.seen)
	}
	if err != nil {
		return nil, err
	}
	return data, data.sorted()
}

func (r record) time(name string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, r[name])
	if err != nil {
		return time.Time{}, fmt.Errorf("%s is %q, want a time such as 2026-01-31T12:00:00Z", name, r[name])
	}
	if at.Year() < 2000 || at.Year() > 2200 {
		return time.Time{}, fmt.Errorf("%s is in the year %d", name, at.Year())
	}
	return at.UTC(), nil
}

func (r record) price() (float64, error) {
	if r[colPrice] == "" {
		return 0, nil
	}
	v, err := strconv.ParseFloat(r[colPrice], 64)
	if err != nil || !(v > 0) || v > 10 {
		return 0, fmt.Errorf("%s is %q, want a ratio above 0 and up to 10", colPrice, r[colPrice])
	}
	return v, nil
}
