//! Gifts against a model that shares no code with them, over histories at random; and what single fears ask for.

mod fears;
mod histories;
mod model;
