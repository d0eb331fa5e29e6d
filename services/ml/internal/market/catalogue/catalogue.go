// Package catalogue knows what every EC2 instance type holds and, from an
// embedded snapshot of published facts, what it cost where.
package catalogue

import (
	"bytes"
	"compress/gzip"
	_ "embed" // the snapshot
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

//go:generate go -C generate run . -out ..

//go:embed types.csv.gz
var typesFile []byte

//go:embed prices.csv.gz
var pricesFile []byte

//go:embed snapshot.json
var snapshotFile []byte

// Unknown is the interruption bucket of a type the Spot Advisor does not name.
const Unknown = -1

// Price is what one type costs in one region, USD per hour on Linux.
type Price struct {
	// Region, e.g. us-east-1.
	Region string
	// Type, e.g. m5.large.
	Type string
	// OnDemand price.
	OnDemand float64
	// Bucket of the Spot Advisor: 0 for less than 5 % interrupted in a month, up to 4
	// for more than 20 %, or Unknown.
	Bucket int
	// Spot price by zone name.
	Spot map[string]float64
}

// Facts are the embedded snapshot.
type Facts struct {
	// Types by name.
	Types map[string]Type
	// Prices, one for each type and region.
	Prices []Price
	// AsOf says when each part was true.
	AsOf Dates
}

// Dates are when the parts of the snapshot were true.
type Dates struct {
	Types    time.Time `json:"types_as_of"`
	Spot     time.Time `json:"spot_as_of"`
	Advisor  time.Time `json:"advisor_as_of"`
	OnDemand time.Time `json:"on_demand_as_of"`
	// OnDemandRegion overrides OnDemand for regions with fresher prices.
	OnDemandRegion map[string]time.Time `json:"on_demand_as_of_region"`
}

// Load reads the embedded snapshot; about 15,000 prices in 20 ms.
func Load() (*Facts, error) {
	facts := &Facts{Types: map[string]Type{}}
	if err := json.Unmarshal(snapshotFile, &facts.AsOf); err != nil {
		return nil, fmt.Errorf("reading the snapshot's dates: %w", err)
	}
	err := rows(typesFile, func(row []string) error {
		t, err := parseType(row)
		facts.Types[t.Name] = t
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the embedded types: %w", err)
	}
	err = rows(pricesFile, func(row []string) error {
		p, err := parsePrice(row)
		facts.Prices = append(facts.Prices, p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the embedded prices: %w", err)
	}
	return facts, nil
}

// rows calls each for every row after the header.
func rows(file []byte, each func([]string) error) error {
	unzip, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		return fmt.Errorf("decompressing: %w", err)
	}
	table, err := csv.NewReader(unzip).ReadAll()
	if err != nil {
		return fmt.Errorf("parsing: %w", err)
	}
	for n, row := range table[1:] {
		if err := each(row); err != nil {
			return fmt.Errorf("row %d: %w", n+2, err)
		}
	}
	return nil
}

func parseType(row []string) (Type, error) {
	var failed error
	number := func(text string) int {
		value, err := strconv.Atoi(text)
		if err != nil {
			failed = err
		}
		return value
	}
	family, _, _ := strings.Cut(row[0], ".")
	return Type{
		Name: row[0], Family: family, Category: row[1], Current: row[2] == "true",
		VCPU: number(row[3]), MemoryMiB: int64(number(row[4])), Architecture: row[5],
		GPUs: number(row[6]), GPU: row[7], Burstable: row[8] == "true", BareMetal: row[9] == "true",
		MaxPods: number(row[10]),
	}, failed
}

func parsePrice(row []string) (Price, error) {
	price := Price{Region: row[0], Type: row[1], Bucket: Unknown, Spot: map[string]float64{}}
	var err error
	if price.OnDemand, err = strconv.ParseFloat(row[2], 64); err != nil {
		return price, fmt.Errorf("on-demand price: %w", err)
	}
	if row[3] != "" {
		if price.Bucket, err = strconv.Atoi(row[3]); err != nil {
			return price, fmt.Errorf("interruption bucket: %w", err)
		}
	}
	for _, part := range strings.Fields(row[4]) {
		letter, text, _ := strings.Cut(part, "=")
		if price.Spot[row[0]+letter], err = strconv.ParseFloat(text, 64); err != nil {
			return price, fmt.Errorf("spot price: %w", err)
		}
	}
	return price, nil
}
