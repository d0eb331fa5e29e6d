package replay

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strconv"
	"time"
)

// event is a price from a moment on.
type event struct {
	at    time.Time
	price float64
}

// history is price events by type and zone, oldest first.
type history map[string][]event

// parseHistory reads instance_type,az,timestamp,price.
func parseHistory(text io.Reader) (history, error) {
	rows := csv.NewReader(text)
	rows.FieldsPerRecord = 4
	h := history{}
	for first := true; ; first = false {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("parsing prices: %w", err)
		}
		if first {
			continue
		}
		at, err := time.Parse(time.RFC3339, row[2])
		if err != nil {
			return nil, fmt.Errorf("parsing prices: %w", err)
		}
		price, err := strconv.ParseFloat(row[3], 64)
		if err != nil || !(price > 0 && price < 1000) {
			return nil, fmt.Errorf("parsing prices: %q is no price", row[3])
		}
		pool := row[0] + "/" + row[1]
		h[pool] = append(h[pool], event{at: at, price: price})
	}
	for _, events := range h {
		slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	}
	return h, nil
}

func readHistory(path string) (history, error) {
	raw, err := readLimited(path)
	if err != nil {
		return nil, err
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("unpacking %s: %w", path, err)
	}
	return parseHistory(io.LimitReader(unzipped, fileLimit))
}

// since is when every one of the pools that are in the history has a price.
func (h history) since(pools []string) time.Time {
	var start time.Time
	for _, pool := range pools {
		if events := h[pool]; len(events) > 0 && events[0].at.After(start) {
			start = events[0].at
		}
	}
	return start
}

// series of a pool's prices, tick by tick from a moment on; the history is gone
// through again where the trace is longer. nil if the pool is not in it.
func (h history) series(pool string, from time.Time, ticks int, seconds float64) []float64 {
	events := h[pool]
	if len(events) == 0 {
		return nil
	}
	length := max(time.Hour, events[len(events)-1].at.Sub(from))
	prices := make([]float64, ticks)
	for i := range prices {
		at := from.Add(time.Duration(float64(i)*seconds*float64(time.Second)) % length)
		next := sort.Search(len(events), func(k int) bool { return events[k].at.After(at) })
		prices[i] = events[max(0, next-1)].price
	}
	return prices
}
