package market

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// advisorLimit is far more than the Spot Advisor's file of about one MB.
const (
	advisorLimit  = 64 << 20
	advisorWithin = time.Minute
)

// advisor fetches the interruption buckets of all regions.
func (r *Refresher) advisor(ctx context.Context, _ string) (func(*Snapshot), error) {
	ctx, cancel := context.WithTimeout(ctx, advisorWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.AdvisorURL, nil)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", r.AdvisorURL, err)
	}
	resp, err := r.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking %s: %s", r.AdvisorURL, resp.Status)
	}
	buckets, err := parseAdvisor(io.LimitReader(resp.Body, advisorLimit))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", r.AdvisorURL, err)
	}
	return withBuckets(buckets), nil
}

// parseAdvisor reads region → type → bucket for Linux. The format has not changed
// since 2021: r is an index into five ranges of ever more interruptions.
func parseAdvisor(text io.Reader) (map[string]map[string]int, error) {
	var file struct {
		Regions map[string]map[string]map[string]struct {
			Bucket int `json:"r"`
		} `json:"spot_advisor"`
	}
	if err := json.NewDecoder(text).Decode(&file); err != nil {
		return nil, fmt.Errorf("parsing: %w", err)
	}
	buckets := map[string]map[string]int{}
	for region, systems := range file.Regions {
		byType := map[string]int{}
		for name, entry := range systems["Linux"] {
			if entry.Bucket < 0 || entry.Bucket > 4 {
				return nil, fmt.Errorf("%s in %s has bucket %d, want 0 to 4", name, region, entry.Bucket)
			}
			byType[name] = entry.Bucket
		}
		buckets[region] = byType
	}
	if len(buckets) == 0 {
		return nil, errors.New("no regions in it")
	}
	return buckets, nil
}
