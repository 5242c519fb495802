//! The metrics: the catalogue, the collection of the cells, and the scrape endpoint.
