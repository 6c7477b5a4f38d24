SELECT scope, hour, kind, total
FROM (
    SELECT scope, hour, kind, sum(n) AS total, min(hour) OVER (PARTITION BY scope) AS first
    FROM aggregates
    WHERE row = 'count' AND scope IN ({campaigns:Array(UInt32)}) AND reason = {counted:UInt8}
    GROUP BY scope, hour, kind
)
WHERE hour < first + {hours:UInt32}
