package eks

// Type is an EC2 instance type's plain facts.
type Type struct {
	Name       string
	VCPU       int64
	MemoryMiB  int64
	GPUs       int64
	ENIs       int64
	IPsPerENI  int64
	USDPerHour float64 // on demand, Linux, us-east-1, July 2026
}

// Types are the ones that made-up clusters are built from: enough to cover
// any node seen so far, and few enough to read.
var Types = []Type{
	{"m5.2xlarge", 8, 32768, 0, 4, 15, 0.384},
	{"m5.4xlarge", 16, 65536, 0, 8, 30, 0.768},
	{"r5.2xlarge", 8, 65536, 0, 4, 15, 0.504},
	{"r5.4xlarge", 16, 131072, 0, 8, 30, 1.008},
	{"c5.2xlarge", 8, 16384, 0, 4, 15, 0.34},
	{"c5.4xlarge", 16, 32768, 0, 8, 30, 0.68},
	{"m6i.xlarge", 4, 16384, 0, 4, 15, 0.192},
	{"m6i.2xlarge", 8, 32768, 0, 4, 15, 0.384},
	{"m6i.4xlarge", 16, 65536, 0, 8, 30, 0.768},
	{"m6i.8xlarge", 32, 131072, 0, 8, 30, 1.536},
	{"m6i.12xlarge", 48, 196608, 0, 8, 30, 2.304},
	{"m6i.16xlarge", 64, 262144, 0, 15, 50, 3.072},
	{"m6i.24xlarge", 96, 393216, 0, 15, 50, 4.608},
	{"m6i.32xlarge", 128, 524288, 0, 15, 50, 6.144},
	{"c6i.2xlarge", 8, 16384, 0, 4, 15, 0.34},
	{"c6i.4xlarge", 16, 32768, 0, 8, 30, 0.68},
	{"c6i.8xlarge", 32, 65536, 0, 8, 30, 1.36},
	{"c6i.12xlarge", 48, 98304, 0, 8, 30, 2.04},
	{"c6i.16xlarge", 64, 131072, 0, 15, 50, 2.72},
	{"c6i.24xlarge", 96, 196608, 0, 15, 50, 4.08},
	{"c6i.32xlarge", 128, 262144, 0, 15, 50, 5.44},
	{"r6i.2xlarge", 8, 65536, 0, 4, 15, 0.504},
	{"r6i.4xlarge", 16, 131072, 0, 8, 30, 1.008},
	{"r6i.8xlarge", 32, 262144, 0, 8, 30, 2.016},
	{"r6i.12xlarge", 48, 393216, 0, 8, 30, 3.024},
	{"r6i.16xlarge", 64, 524288, 0, 15, 50, 4.032},
	{"r6i.24xlarge", 96, 786432, 0, 15, 50, 6.048},
	{"r6i.32xlarge", 128, 1048576, 0, 15, 50, 8.064},
	{"g4dn.2xlarge", 8, 32768, 1, 3, 10, 0.752},
	{"g4dn.4xlarge", 16, 65536, 1, 3, 10, 1.204},
	{"g4dn.8xlarge", 32, 131072, 1, 4, 15, 2.176},
	{"g4dn.12xlarge", 48, 196608, 4, 8, 30, 3.912},
	{"g4dn.16xlarge", 64, 262144, 1, 4, 15, 4.352},
	{"g4dn.metal", 96, 393216, 8, 15, 50, 7.824},
	{"g5.2xlarge", 8, 32768, 1, 4, 15, 1.212},
	{"g5.4xlarge", 16, 65536, 1, 8, 30, 1.624},
	{"g5.8xlarge", 32, 131072, 1, 8, 30, 2.448},
	{"g5.12xlarge", 48, 196608, 4, 15, 50, 5.672},
	{"g5.16xlarge", 64, 262144, 1, 8, 30, 4.096},
	{"g5.24xlarge", 96, 393216, 4, 15, 50, 8.144},
	{"g5.48xlarge", 192, 786432, 8, 7, 50, 16.288},
	{"g6e.12xlarge", 48, 393216, 4, 10, 30, 10.49264},
	{"g6e.24xlarge", 96, 786432, 4, 20, 50, 15.06559},
	{"g6e.48xlarge", 192, 1572864, 8, 40, 50, 30.13118},
}

// TypeNamed finds a type of Types.
func TypeNamed(name string) (Type, bool) {
	for _, t := range Types {
		if t.Name == name {
			return t, true
		}
	}
	return Type{}, false
}

// Cheapest is the cheapest of Types with at least that much; a machine without
// GPUs never becomes one with.
func Cheapest(cpuMilli, memoryMiB, gpus int64) (Type, bool) {
	var best Type
	found := false
	for _, t := range Types {
		covers := t.VCPU*1000 >= cpuMilli && t.MemoryMiB >= memoryMiB && t.GPUs >= gpus
		if !covers || (gpus == 0) != (t.GPUs == 0) {
			continue
		}
		if !found || t.USDPerHour < best.USDPerHour {
			best, found = t, true
		}
	}
	return best, found
}
