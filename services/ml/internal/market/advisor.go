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

const (
	// advisorLimit is far more than the Spot Advisor's file of about one MB.
	advisorLimit  = 16 << 20
	advisorWithin = time.Minute
	// Of the file's parts: 33 regions and 929 types in 2025.
	mostRegions = 500
	mostTypes   = 10_000
)

// advisor fetches the interruption buckets of all regions, unless they are the ones
// in use.
func (r *Refresher) advisor(ctx context.Context, _ string) (func(*Snapshot), error) {
	ctx, cancel := context.WithTimeout(ctx, advisorWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.AdvisorURL, nil)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", r.AdvisorURL, err)
	}
	if r.etag != "" {
		req.Header.Set("If-None-Match", r.etag)
	}
	resp, err := r.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && r.etag != "":
		return func(*Snapshot) {}, nil
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("asking %s: %s", r.AdvisorURL, resp.Status)
	}
	body := &io.LimitedReader{R: resp.Body, N: advisorLimit + 1}
	buckets, err := parseAdvisor(body)
	if body.N <= 0 {
		err = fmt.Errorf("it is larger than %d bytes", advisorLimit)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", r.AdvisorURL, err)
	}
	if err := plausibleBuckets(r.Market.Snapshot(), buckets); err != nil {
		return nil, err
	}
	r.etag = resp.Header.Get("ETag")
	return withBuckets(buckets), nil
}

// parseAdvisor reads region → type → bucket for Linux. The format has not changed
// since 2021: r is an index into five ranges of ever more interruptions.
func parseAdvisor(text io.Reader) (map[string]map[string]int, error) {
	var file struct {
		Regions map[string]map[string]map[string]struct {
			Bucket *int `json:"r"`
		} `json:"spot_advisor"`
	}
	if err := json.NewDecoder(text).Decode(&file); err != nil {
		return nil, fmt.Errorf("parsing: %w", err)
	}
	if len(file.Regions) > mostRegions {
		return nil, fmt.Errorf("it has %d regions", len(file.Regions))
	}
	buckets := map[string]map[string]int{}
	for region, systems := range file.Regions {
		byType := map[string]int{}
		if n := len(systems["Linux"]); n > mostTypes {
			return nil, fmt.Errorf("%.40q has %d types", region, n)
		}
		for name, entry := range systems["Linux"] {
			if entry.Bucket == nil || *entry.Bucket < 0 || *entry.Bucket > 4 || !typeName.MatchString(name) {
				return nil, fmt.Errorf("%.40q in %.40q has no bucket of 0 to 4, or is no type", name, region)
			}
			byType[name] = *entry.Bucket
		}
		if len(byType) > 0 {
			buckets[region] = byType
		}
	}
	if len(buckets) == 0 {
		return nil, errors.New("no regions in it")
	}
	return buckets, nil
}
