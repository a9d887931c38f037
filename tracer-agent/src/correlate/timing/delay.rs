//! How long something takes, as it was seen: a histogram on a scale that is linear around zero and logarithmic beyond,
//! with every observation spread over its neighbours.

/// Steps a factor of e.
const STEPS: f64 = 8.0;
/// Below this a delay is told from zero by its difference, above by its ratio.
const UNIT_NS: f64 = 2_000.0;
/// The step of no delay: what is shorter than nothing by more than a millisecond is in the first.
const ZERO: f64 = 56.0;
/// How many steps; the last is that of a quarter of an hour.
const COUNT: usize = 220;
/// An observation counts in so many steps to both sides, less and less.
const SPREAD: usize = 12;

/// The place of a delay in the histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step(usize);

/// Weights of a delay by its length.
#[derive(Clone, Debug, Default)]
pub struct Delays {
    steps: Vec<f32>,
    weight: f32,
}

impl Step {
    /// That of a delay in nanoseconds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "the result is clamped, and steps are coarser than what is lost"
    )]
    pub fn of(delay_ns: i64) -> Self {
        let scaled = STEPS * (delay_ns as f64 / UNIT_NS).asinh() + ZERO;
        Self(scaled.round().clamp(0.0, (COUNT - 1) as f64) as usize)
    }
}

/// How likely each delay is where nothing tells.
pub fn unknown() -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "it is small")]
    const COUNTED: f64 = COUNT as f64;
    1.0 / COUNTED
}

impl Delays {
    /// Takes note of a delay.
    pub fn observe(&mut self, step: Step, weight: f32) {
        #[expect(clippy::cast_precision_loss, reason = "it is small")]
        const SUM: f32 = ((SPREAD + 1) * (SPREAD + 1)) as f32;
        if self.steps.is_empty() {
            self.steps = vec![0.0; COUNT];
        }
        let first = step.0.saturating_sub(SPREAD);
        let near = self.steps.iter_mut().enumerate().skip(first);
        for (place, known) in near.take_while(|(place, _)| *place <= step.0 + SPREAD) {
            #[expect(clippy::cast_precision_loss, reason = "it is small")]
            let share = (SPREAD + 1 - place.abs_diff(step.0)) as f32 / SUM;
            *known += weight * share;
        }
        self.weight += weight;
    }

    /// The weight of this delay among all.
    pub fn of(&self, step: Step) -> f64 {
        self.steps.get(step.0).copied().unwrap_or_default().into()
    }

    /// The weight of all.
    pub fn weight(&self) -> f64 {
        self.weight.into()
    }

    /// What was seen so far counts half from now on.
    pub fn halve(&mut self) {
        self.weight /= 2.0;
        self.steps.iter_mut().for_each(|weight| *weight /= 2.0);
    }
}
