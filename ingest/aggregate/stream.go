package aggregate

import "fmt"

// MaxPartitions is how many partitions a stream may have.
const MaxPartitions = 1 << 16

// PartitionOf is what a store knows a partition of a stream by. A stream is one life of a topic: one that is made
// anew begins its offsets again, so its partitions are other ones to the store. It refuses partitions that have no number.
func PartitionOf(stream uint16, partition int) (uint32, error) {
	if partition < 0 || partition >= MaxPartitions {
		return 0, fmt.Errorf("aggregate: partition %d: a stream has partitions 0 to %d", partition, MaxPartitions-1)
	}
	return uint32(stream)<<16 | uint32(partition), nil
}

// SplitPartition is what PartitionOf put together.
func SplitPartition(known uint32) (stream uint16, partition int) {
	return uint16(known >> 16), int(known & (MaxPartitions - 1))
}
