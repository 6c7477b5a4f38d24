SELECT position FROM progress WHERE partition = ?1
