-- The union of each membership with the stricter ones, in the order of aggregate.Stricter: who stands in two counts once.
SELECT campaign, opens, clicks, finalizeAggregation(members) AS alone,
    uniqCombined64Merge(14)(members) OVER (
        PARTITION BY campaign
        ORDER BY arrayElement({strictness:Array(UInt16)}, opens + 1) + arrayElement({strictness:Array(UInt16)}, clicks + 1) DESC, opens DESC, clicks DESC
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS joined
FROM (
    SELECT campaign, opens, clicks, uniqCombined64MergeState(14)(people) AS members
    FROM populations
    WHERE campaign IN ({campaigns:Array(UInt32)})
    GROUP BY campaign, opens, clicks
)
