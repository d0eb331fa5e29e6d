package main

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"os"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// instance is what we read of one entry of instances.json.
type instance struct {
	Type       string              `json:"instance_type"`
	Family     string              `json:"family"`
	Generation string              `json:"generation"`
	VCPU       int                 `json:"vCPU"`
	MemoryGiB  float64             `json:"memory"`
	GPU        int                 `json:"GPU"`
	GPUModel   *string             `json:"GPU_model"`
	Arch       []string            `json:"arch"`
	Zones      map[string][]string `json:"availability_zones"`
	Pricing    map[string]pricing  `json:"pricing"`
	VPC        struct {
		MaxENIs   int `json:"max_enis"`
		IPsPerENI int `json:"ips_per_eni"`
	} `json:"vpc"`
}

type pricing struct {
	Linux struct {
		OnDemand  string   `json:"ondemand"`
		Spot      []string `json:"spot"`
		Interrupt *string  `json:"pct_interrupt"`
	} `json:"linux"`
}

var (
	typeHeader  = []string{"type", "family", "current", "vcpu", "memory_mib", "arch", "gpus", "gpu", "burstable", "bare_metal", "max_pods"}
	priceHeader = []string{"region", "type", "on_demand", "advisor", "spot"}

	// commercial leaves out GovCloud, China, Local Zones and Wavelength.
	commercial = regexp.MustCompile(`^(af|ap|ca|eu|il|me|mx|sa|us)-[a-z]+-\d$`)

	buckets = map[string]string{"<5%": "0", "5-10%": "1", "10-15%": "2", "15-20%": "3", ">20%": "4"}
)

func readInstances(path string) ([]instance, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading instances: %w", err)
	}
	var all []instance
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("parsing %s: %w", path, err)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Type < all[j].Type })
	return all, nil
}

// architecture of a type that can run Linux nodes; empty for Macs and 32-bit only.
func (i instance) architecture() string {
	switch {
	case slices.Contains(i.Arch, "x86_64"):
		return "amd64"
	case slices.Contains(i.Arch, "arm64"):
		return "arm64"
	}
	return ""
}

func (i instance) burstable() bool {
	return len(i.Type) > 1 && i.Type[0] == 't' && i.Type[1] >= '0' && i.Type[1] <= '9'
}

func typeRows(all []instance, limits map[string]eniLimit) [][]string {
	var rows [][]string
	for _, i := range all {
		limit, ok := limits[i.Type]
		if !ok {
			limit = eniLimit{interfaces: i.VPC.MaxENIs, addresses: i.VPC.IPsPerENI, bareMetal: strings.Contains(i.Type, ".metal")}
		}
		pods := limit.interfaces*(limit.addresses-1) + 2
		if i.architecture() == "" || i.VCPU < 1 || i.MemoryGiB <= 0 || limit.interfaces < 1 || limit.addresses < 2 {
			continue
		}
		gpu := ""
		if i.GPUModel != nil {
			gpu = *i.GPUModel
		}
		rows = append(rows, []string{
			i.Type, i.Family, strconv.FormatBool(i.Generation == "current"), strconv.Itoa(i.VCPU),
			strconv.Itoa(int(i.MemoryGiB * 1024)), i.architecture(), strconv.Itoa(i.GPU), gpu,
			strconv.FormatBool(i.burstable()), strconv.FormatBool(limit.bareMetal), strconv.Itoa(pods),
		})
	}
	return rows
}

func priceRows(all []instance, types [][]string, fresher map[string]map[string]float64) [][]string {
	known := map[string]bool{}
	for _, row := range types {
		known[row[0]] = true
	}
	letters := zoneLetters(all)
	var rows [][]string
	for _, i := range all {
		for region, p := range i.Pricing {
			if !known[i.Type] || !commercial.MatchString(region) {
				continue
			}
			if row := priceRow(i, region, p, fresher[region][i.Type], letters[region]); row != nil {
				rows = append(rows, row)
			}
		}
	}
	rows = append(rows, newerTypes(known, fresher)...)
	sort.Slice(rows, func(a, b int) bool {
		if rows[a][0] != rows[b][0] {
			return rows[a][0] < rows[b][0]
		}
		return rows[a][1] < rows[b][1]
	})
	return rows
}

// priceRow of a type in a region, nil if it has no on-demand price there.
func priceRow(i instance, region string, p pricing, newer float64, letters []string) []string {
	price := p.Linux.OnDemand
	if newer > 0 {
		price = strconv.FormatFloat(newer, 'f', -1, 64)
	}
	if onDemand, err := strconv.ParseFloat(price, 64); err != nil || onDemand <= 0 {
		return nil
	}
	bucket := ""
	if p.Linux.Interrupt != nil {
		bucket = buckets[*p.Linux.Interrupt]
	}
	return []string{region, i.Type, trim(price), bucket, spotByZone(i, p.Linux.Spot, letters, region)}
}

// newerTypes have prices in one table only: their capacity is unknown here, so
// they are never bought, but a node of such a type has its price.
func newerTypes(known map[string]bool, fresher map[string]map[string]float64) [][]string {
	var rows [][]string
	for region, prices := range fresher {
		for name, price := range prices {
			if !known[name] && price > 0 && commercial.MatchString(region) {
				rows = append(rows, []string{region, name, strconv.FormatFloat(price, 'f', -1, 64), "", ""})
			}
		}
	}
	return rows
}

// zoneLetters names the zones of each region: the zone that offers most types
// is a, the next b, and so on.
func zoneLetters(all []instance) map[string][]string {
	offers := map[string]map[string]int{}
	for _, i := range all {
		for region, zones := range i.Zones {
			if offers[region] == nil {
				offers[region] = map[string]int{}
			}
			for _, zone := range zones {
				offers[region][zone]++
			}
		}
	}
	letters := map[string][]string{}
	for region, count := range offers {
		for zone := range count {
			letters[region] = append(letters[region], zone)
		}
		sort.Slice(letters[region], func(a, b int) bool {
			x, y := letters[region][a], letters[region][b]
			if count[x] != count[y] {
				return count[x] > count[y]
			}
			return x < y
		})
	}
	return letters
}

// spotByZone deals a type's prices to its zones: "a=0.0315 b=0.0324".
func spotByZone(i instance, prices, region []string, name string) string {
	zones := slices.Clone(i.Zones[name])
	if len(zones) < len(prices) {
		zones = slices.Clone(region)
	}
	sort.Slice(zones, func(a, b int) bool { return slices.Index(region, zones[a]) < slices.Index(region, zones[b]) })
	n := min(len(prices), len(zones))
	if n == 0 {
		return ""
	}
	hash := fnv.New32a()
	hash.Write([]byte(name + "/" + i.Type))
	turn := int(hash.Sum32() % uint32(n))
	parts := make([]string, 0, n)
	for k := range n {
		letter := string(rune('a' + slices.Index(region, zones[k])))
		parts = append(parts, letter+"="+trim(prices[(k+turn)%n]))
	}
	return strings.Join(parts, " ")
}

func trim(price string) string {
	if !strings.Contains(price, ".") {
		return price
	}
	return strings.TrimRight(strings.TrimRight(price, "0"), ".")
}
