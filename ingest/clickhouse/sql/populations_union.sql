SELECT uniqCombined64Merge(14)(people) AS members
FROM populations
WHERE campaign = {campaign:UInt32} AND has({memberships:Array(UInt16)}, toUInt16(opens) * 256 + clicks)
