// Package feature says what a model of interruptions sees: names, meaning and
// range of every input, and how they are computed from what was seen before.
package feature

import "math"

// Group says where a feature's value comes from, and so when it may be missing.
type Group int

// Groups of features.
const (
	// Asked features are part of the question and always there.
	Asked Group = iota
	// Instance features need the instance's start.
	Instance
	// Market features need the type or its price to be known.
	Market
	// Fleet features need a record of the pool's instances and their interruptions.
	Fleet
	// Probe features need the pool's availability to have been probed all along. Traces
	// have them; a fleet that only runs what it needs does not.
	Probe
)

// String is the group's name in a model file.
func (g Group) String() string {
	return [...]string{"asked", "instance", "market", "fleet", "probe"}[g]
}

// Feature is one input of a model.
type Feature struct {
	// Name is the feature's identity in model files.
	Name string
	// Meaning in one phrase.
	Meaning string
	// Unit of the value.
	Unit string
	// Min and Max bound the value; a missing one is NaN.
	Min, Max float64
	// Group is where it comes from.
	Group Group
	// Monotone is 1 where more of it surely means more risk, -1 for less, 0 if not sure.
	Monotone int
}

// Positions in a Row. They are the order of Schema and, with it, part of the
// model file format: new ones go to the end.
const (
	LeadMinutes = iota
	HourOfDay
	DayOfWeek
	UptimeMinutes
	AdvisorBucket
	PriceOverOnDemand
	VCPUs
	MemoryPerVCPU
	Generation
	Accelerated
	SinceInterruption
	LossRate1h
	LossRate6h
	LossRate24h
	LossRate7d
	LossRateSoFar
	RegionLossRate1h
	RegionLossRate6h
	RegionLossRate24h
	SinceRegionLoss
	DownShare1h
	DownShare6h
	DownShare24h
	DownShare7d
	DownShareSoFar
	SameHourDownShare
	LastRunMinutes
	MeanRunMinutes
	LastDownMinutes
	SistersDownNow
	SistersDownShare1h
	SistersDownShare24h
	ElsewhereDownNow
	UnitsUpShare
	// Count of features.
	Count
)

// SchemaVersion names this list in model files.
const SchemaVersion = "spot-interruption/1"

// Row is one example's features; what is not known is NaN.
type Row [Count]float64

// NewRow is a row of which nothing is known yet.
func NewRow() Row {
	var r Row
	for i := range r {
		r[i] = math.NaN()
	}
	return r
}

const (
	// aMonth bounds ages and waits, minutes: beyond it they say nothing more.
	aMonth = 30 * 24 * 60
	// mostRate bounds interruptions per instance-hour: one each minute.
	mostRate = 60
)

// Schema lists the features in the order of a Row. A pool is an instance type in
// a zone; its sisters are the same type in other zones of the region.
var Schema = [Count]Feature{
	LeadMinutes:       {"lead_minutes", "minutes from now to the start of the step that the hazard is of", "min", 0, aMonth, Asked, 0},
	HourOfDay:         {"hour_of_day", "hour of the day, UTC, with fraction", "h", 0, 24, Asked, 0},
	DayOfWeek:         {"day_of_week", "days since Monday, UTC", "d", 0, 6, Asked, 0},
	UptimeMinutes:     {"uptime_minutes", "minutes the instance has run; of a probed pool, since it became available", "min", 0, aMonth, Instance, -1},
	AdvisorBucket:     {"advisor_bucket", "Spot Advisor bucket: 0 for under 5 % interrupted in a month, to 4 for over 20 %", "index", 0, 4, Market, 1},
	PriceOverOnDemand: {"price_over_on_demand", "spot price over on-demand price", "ratio", 0, 10, Market, 0},
	VCPUs:             {"vcpus", "vCPU of the type", "count", 1, 2048, Market, 0},
	MemoryPerVCPU:     {"memory_gib_per_vcpu", "memory of the type for each vCPU", "GiB", 0, 1024, Market, 0},
	Generation:        {"generation", "number in the type's family name, 5 for m5", "index", 1, 99, Market, 0},
	Accelerated:       {"accelerated", "1 if the type has GPUs or other accelerators", "flag", 0, 1, Market, 0},

	SinceInterruption: {"minutes_since_interruption", "minutes since the pool last lost an instance", "min", 0, aMonth, Fleet, -1},
	LossRate1h:        {"loss_rate_1h", "instances the pool lost in the last hour ÷ (instance-hours in it + 1)", "1/h", 0, mostRate, Fleet, 1},
	LossRate6h:        {"loss_rate_6h", "the same for 6 hours", "1/h", 0, mostRate, Fleet, 1},
	LossRate24h:       {"loss_rate_24h", "the same for 24 hours", "1/h", 0, mostRate, Fleet, 1},
	LossRate7d:        {"loss_rate_7d", "the same for 7 days", "1/h", 0, mostRate, Fleet, 1},
	LossRateSoFar:     {"loss_rate_so_far", "the same for 30 days, drawn to the mean of all pools by 24 instance-hours of it", "1/h", 0, mostRate, Fleet, 1},
	RegionLossRate1h:  {"region_loss_rate_1h", "loss_rate_1h over the pool's sisters together", "1/h", 0, mostRate, Fleet, 1},
	RegionLossRate6h:  {"region_loss_rate_6h", "the same for 6 hours", "1/h", 0, mostRate, Fleet, 1},
	RegionLossRate24h: {"region_loss_rate_24h", "the same for 24 hours", "1/h", 0, mostRate, Fleet, 1},
	SinceRegionLoss:   {"minutes_since_region_interruption", "minutes since a sister last lost an instance", "min", 0, aMonth, Fleet, -1},

	DownShare1h:         {"down_share_1h", "share of the last hour in which the pool had no capacity", "share", 0, 1, Probe, 1},
	DownShare6h:         {"down_share_6h", "the same for 6 hours", "share", 0, 1, Probe, 1},
	DownShare24h:        {"down_share_24h", "the same for 24 hours", "share", 0, 1, Probe, 1},
	DownShare7d:         {"down_share_7d", "the same for 7 days", "share", 0, 1, Probe, 1},
	DownShareSoFar:      {"down_share_so_far", "the same for 30 days, drawn to the mean of all pools by 24 hours of it", "share", 0, 1, Probe, 1},
	SameHourDownShare:   {"same_hour_down_share", "the same for the coming hour of the day on the last 7 days", "share", 0, 1, Probe, 1},
	LastRunMinutes:      {"last_run_minutes", "length of the pool's last closed time with capacity", "min", 0, aMonth, Probe, -1},
	MeanRunMinutes:      {"mean_run_minutes", "geometric mean of its last five", "min", 0, aMonth, Probe, -1},
	LastDownMinutes:     {"last_down_minutes", "length of the pool's last closed time without capacity", "min", 0, aMonth, Probe, 0},
	SistersDownNow:      {"sisters_down_now", "share of the sisters without capacity", "share", 0, 1, Probe, 1},
	SistersDownShare1h:  {"sisters_down_share_1h", "mean down_share_1h of the sisters", "share", 0, 1, Probe, 1},
	SistersDownShare24h: {"sisters_down_share_24h", "mean down_share_24h of the sisters", "share", 0, 1, Probe, 1},
	ElsewhereDownNow:    {"elsewhere_down_now", "share of the same type's pools in other regions without capacity", "share", 0, 1, Probe, 0},
	UnitsUpShare:        {"units_up_share", "instances up ÷ the most that the pool has held", "share", 0, 1, Probe, 0},
}

// Index of a feature by name.
func Index(name string) (int, bool) {
	for i, f := range Schema {
		if f.Name == name {
			return i, true
		}
	}
	return 0, false
}

// Names in order.
func Names() []string {
	names := make([]string, Count)
	for i, f := range Schema {
		names[i] = f.Name
	}
	return names
}

// Clamp a value into the range of its feature; NaN stays NaN.
func Clamp(i int, value float64) float64 {
	if math.IsNaN(value) {
		return value
	}
	return min(max(value, Schema[i].Min), Schema[i].Max)
}
