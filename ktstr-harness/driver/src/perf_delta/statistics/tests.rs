//! Welch's t-test against published values, and what the statistics do at their limits.
#![allow(clippy::excessive_precision, reason = "figures as they were computed")]

use proptest::prelude::*;

use super::*;

fn samples(values: &[f64]) -> Samples {
    Samples::new(values.to_vec()).unwrap()
}

/// A data set whose test is published: `t.test` of R 4 (Welch, two-sided) unless it says otherwise.
struct Published {
    name: &'static str,
    a: &'static [f64],
    b: &'static [f64],
    /// As it is printed in the source.
    printed_p: &'static str,
    /// Computed from the definition with 40 digits (`mpmath` 1.3, the incomplete beta function); `SciPy` 1.17's
    /// `ttest_ind(equal_var=False)` agrees in 13 digits.
    t: f64,
    degrees: f64,
    p: f64,
}

const CTRL: &[f64] = &[4.17, 5.58, 5.18, 6.11, 4.50, 4.61, 5.17, 4.53, 5.33, 5.14];
const TO_TEN: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0];

const PUBLISHED: [Published; 11] = [
    Published {
        name: "R, ?t.test: t.test(extra ~ group, data = sleep)",
        a: &[0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0],
        b: &[1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4],
        printed_p: "0.07939",
        t: -1.860_813_467_486_853_1,
        degrees: 17.776_473_516_178_49,
        p: 0.079_394_140_187_358_138,
    },
    Published {
        name: "R, ?t.test: t.test(1:10, y = c(7:20))",
        a: TO_TEN,
        b: &[
            7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0, 18.0, 19.0, 20.0,
        ],
        printed_p: "1.855e-05",
        t: -5.434_929_763_894_059_6,
        degrees: 21.982_212_340_188_994,
        p: 1.855_281_832_511_811_3e-5,
    },
    Published {
        name: "R, ?t.test: t.test(1:10, y = c(7:20, 200))",
        a: TO_TEN,
        b: &[
            7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0, 18.0, 19.0, 20.0, 200.0,
        ],
        printed_p: "0.1245",
        t: -1.632_902_633_201_205_2,
        degrees: 14.164_598_953_012_474,
        p: 0.124_513_498_089_745_39,
    },
    Published {
        name: "R: t.test(mpg ~ am, data = mtcars)",
        a: &[
            21.4, 18.7, 18.1, 14.3, 24.4, 22.8, 19.2, 17.8, 16.4, 17.3, 15.2, 10.4, 10.4, 14.7,
            21.5, 15.5, 15.2, 13.3, 19.2,
        ],
        b: &[
            21.0, 21.0, 22.8, 32.4, 30.4, 33.9, 27.3, 26.0, 30.4, 15.8, 19.7, 15.0, 21.4,
        ],
        printed_p: "0.001374",
        t: -3.767_123_145_144_924_6,
        degrees: 18.332_251_638_400_465,
        p: 0.001_373_638_333_071_030_6,
    },
    Published {
        name: "R, PlantGrowth: ctrl against trt1",
        a: CTRL,
        b: &[4.81, 4.17, 4.41, 3.59, 5.87, 3.83, 6.03, 4.89, 4.32, 4.69],
        printed_p: "0.2504",
        t: 1.191_260_381_848_702_4,
        degrees: 16.523_585_056_859_301,
        p: 0.250_382_508_587_548_26,
    },
    Published {
        name: "R, PlantGrowth: ctrl against trt2",
        a: CTRL,
        b: &[6.31, 5.12, 5.54, 5.50, 5.37, 5.29, 4.92, 6.15, 5.80, 5.26],
        printed_p: "0.0479",
        t: -2.134_020_453_124_062_4,
        degrees: 16.785_764_482_605_72,
        p: 0.047_899_255_601_969_221,
    },
    Published {
        name: "R, InsectSprays: A against B",
        a: &[
            10.0, 7.0, 20.0, 14.0, 14.0, 12.0, 10.0, 23.0, 17.0, 20.0, 14.0, 13.0,
        ],
        b: &[
            11.0, 17.0, 21.0, 11.0, 16.0, 14.0, 17.0, 17.0, 19.0, 21.0, 7.0, 13.0,
        ],
        printed_p: "0.6547",
        t: -0.453_524_385_218_736_51,
        degrees: 21.784_430_812_659_465,
        p: 0.654_656_712_798_680_01,
    },
    Published {
        name: "R: t.test(len ~ supp, data = ToothGrowth)",
        a: &[
            15.2, 21.5, 17.6, 9.7, 14.5, 10.0, 8.2, 9.4, 16.5, 9.7, 19.7, 23.3, 23.6, 26.4, 20.0,
            25.2, 25.8, 21.2, 14.5, 27.3, 25.5, 26.4, 22.4, 24.5, 24.8, 30.9, 26.4, 27.3, 29.4,
            23.0,
        ],
        b: &[
            4.2, 11.5, 7.3, 5.8, 6.4, 10.0, 11.2, 11.2, 5.2, 7.0, 16.5, 16.5, 15.2, 17.3, 22.5,
            17.3, 13.6, 14.5, 18.8, 15.5, 23.6, 18.5, 33.9, 25.5, 26.4, 32.5, 26.7, 21.5, 23.3,
            29.5,
        ],
        printed_p: "0.06063",
        t: 1.915_268_268_695_268_5,
        degrees: 55.309_432_682_640_575,
        p: 0.060_634_507_880_934_026,
    },
    Published {
        name: "Wikipedia, Welch's t-test, example 1: equal variances and sizes",
        a: &[
            27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7,
            21.4,
        ],
        b: &[
            27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5,
            24.4,
        ],
        printed_p: "0.021",
        t: -2.455_356_398_286_005_2,
        degrees: 24.988_529_290_231_414,
        p: 0.021_378_001_462_867_032,
    },
    Published {
        name: "Wikipedia, Welch's t-test, example 2: the larger variance in the smaller sample",
        a: &[17.2, 20.9, 22.6, 18.1, 21.7, 21.4, 23.5, 24.2, 14.7, 21.8],
        b: &[
            21.5, 22.8, 21.0, 23.0, 21.6, 23.6, 22.5, 20.7, 23.4, 21.8, 20.7, 21.7, 21.5, 22.5,
            23.6, 21.5, 22.5, 23.5, 21.5, 21.8,
        ],
        printed_p: "0.149",
        t: -1.565_433_523_598_505_2,
        degrees: 9.904_741_248_650_828_9,
        p: 0.148_841_696_605_327_99,
    },
    Published {
        name: "Wikipedia, Welch's t-test, example 3: the larger variance in the larger sample",
        a: &[19.8, 20.4, 19.6, 17.8, 18.5, 18.9, 18.3, 18.9, 19.5, 22.0],
        b: &[
            28.2, 26.6, 20.1, 23.3, 25.2, 22.1, 17.7, 27.6, 20.6, 13.7, 23.2, 17.5, 20.6, 18.0,
            23.9, 21.6, 24.3, 20.4, 24.0, 13.2,
        ],
        printed_p: "0.036",
        t: -2.219_240_915_823_624_9,
        degrees: 24.496_223_124_201_239,
        p: 0.035_972_271_029_796_718,
    },
];

/// `value` in as many significant digits as `printed` has.
fn as_printed(value: f64, printed: &str) -> String {
    let (digits, exponent) = match printed.split_once('e') {
        Some((digits, _)) => (digits, true),
        None => (printed, false),
    };
    let decimals = digits
        .split_once('.')
        .map_or(0, |(_, decimals)| decimals.len());
    if exponent {
        let text = format!("{value:.decimals$e}");
        let (digits, exponent) = text.split_once("e-").unwrap();
        return format!("{digits}e-{exponent:0>2}");
    }
    format!("{value:.decimals$}")
}

fn near(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-10 * expected.abs()
}

#[test]
fn published_tests_come_out_as_published() {
    for set in &PUBLISHED {
        let found = welch(&samples(set.a), &samples(set.b)).unwrap();
        let name = set.name;
        assert!(near(found.t, set.t), "{name}: t = {}", found.t);
        assert!(
            near(found.degrees, set.degrees),
            "{name}: {}",
            found.degrees
        );
        assert!(near(found.p, set.p), "{name}: p = {}", found.p);
        assert_eq!(as_printed(found.p, set.printed_p), set.printed_p, "{name}");
    }
}

#[test]
fn two_runs_a_side_are_enough_for_what_is_plain() {
    // With mpmath as above.
    let apart = welch(&samples(&[10.0, 10.1]), &samples(&[20.0, 20.1])).unwrap();
    assert!(near(apart.p, 4.999_625_031_247_265_9e-5), "{}", apart.p);
    let close = welch(&samples(&[10.0, 12.0]), &samples(&[14.0, 18.0])).unwrap();
    assert!(near(close.p, 0.198_727_388_934_526_14), "{}", close.p);
    for (a, b) in [(&[1.0][..], &[2.0, 3.0][..]), (&[1.0, 2.0], &[3.0])] {
        assert_eq!(welch(&samples(a), &samples(b)), None);
    }
}

#[test]
fn without_spread_the_limit_counts() {
    let p = |a: &[f64], b: &[f64]| welch(&samples(a), &samples(b)).unwrap().p;
    assert_eq!(p(&[3.0, 3.0], &[3.0, 3.0, 3.0]), 1.0);
    assert_eq!(p(&[3.0, 3.0], &[4.0, 4.0]), 0.0);
    assert_eq!(p(&[0.0, 0.0], &[0.0, 0.0]), 1.0);
    assert_eq!(p(&[0.0, 0.0], &[-1.0, -1.0]), 0.0);
    // Rounding is no spread and no difference.
    let third = 0.1 + 0.2;
    assert_eq!(p(&[0.3, third], &[third, 0.3]), 1.0);
    assert_eq!(p(&[0.3, third, 0.3], &[third, third, third]), 1.0);
    // One side alone may have none.
    let one = p(&[5.0, 5.0, 5.0], &[5.0, 6.0, 7.0]);
    assert!(near(one, 0.225_403_330_758_516_62), "{one}");
}

#[test]
fn identical_samples_do_not_differ() {
    for set in &PUBLISHED {
        let found = welch(&samples(set.a), &samples(set.a)).unwrap();
        assert_eq!((found.t, found.p), (0.0, 1.0), "{}", set.name);
    }
}

#[test]
fn magnitudes_do_not_matter() {
    let set = &PUBLISHED[0];
    for scale in [1e-300, 1e-20, 1e20, 1e300] {
        let scaled =
            |values: &[f64]| samples(&values.iter().map(|v| v * scale).collect::<Vec<_>>());
        let (a, b) = (scaled(set.a), scaled(set.b));
        let found = welch(&a, &b).unwrap();
        assert!((found.p - set.p).abs() < 1e-9, "{scale}: {}", found.p);
        let summary = a.summary();
        assert!(summary.mean.is_finite() && summary.deviation.unwrap().is_finite());
        assert!(
            (summary.mean - 0.75 * scale).abs() < 1e-9 * scale,
            "{scale}"
        );
    }
    let most = samples(&[f64::MAX, f64::MAX]);
    assert_eq!(most.mean(), f64::MAX);
    assert_eq!(
        welch(&most, &samples(&[-f64::MAX, -f64::MAX])).unwrap().p,
        0.0
    );
    let least = samples(&[5e-324, 5e-324]);
    assert_eq!(welch(&least, &samples(&[0.0, 0.0])).unwrap().p, 0.0);
}

#[test]
fn what_is_no_number_is_refused() {
    assert_eq!(Samples::new(vec![]), Err(SamplesError::Empty));
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(Samples::new(vec![1.0, odd]), Err(SamplesError::NotFinite));
    }
}

#[test]
fn disjoint_ranges_by_chance() {
    assert!(are_disjoint(&samples(&[1.0, 2.0]), &samples(&[3.0])));
    assert!(!are_disjoint(&samples(&[1.0, 3.0]), &samples(&[3.0, 4.0])));
    for (a, b, expected) in [
        (1, 1, 1.0),
        (2, 2, 1.0 / 3.0),
        (3, 3, 0.1),
        (5, 5, 1.0 / 126.0),
        (2, 5, 2.0 / 21.0),
    ] {
        assert!(near(chance_of_disjoint(a, b), expected), "{a} {b}");
        assert!(near(chance_of_disjoint(b, a), expected), "{b} {a}");
    }
    assert!(chance_of_disjoint(2000, 2000) >= 0.0);
}

#[test]
fn several_tests_are_adjusted_as_r_does() {
    // R: p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "BH"), and with a small one among large ones.
    let adjusted = benjamini_hochberg(&[0.01, 0.02, 0.03, 0.04, 0.05]);
    assert!(adjusted.iter().all(|p| near(*p, 0.05)), "{adjusted:?}");
    let adjusted = benjamini_hochberg(&[0.9, 0.001, 0.5, 0.012]);
    let expected = [0.9, 0.004, 2.0 / 3.0, 0.024];
    assert!(
        adjusted.iter().zip(expected).all(|(a, b)| near(*a, b)),
        "{adjusted:?}"
    );
    assert!(benjamini_hochberg(&[]).is_empty());
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec(-1e6..1e6_f64, 2..8)
}

proptest! {
    #[test]
    fn a_test_is_symmetric_and_a_probability(a in values(), b in values()) {
        let (a, b) = (samples(&a), samples(&b));
        let (one, other) = (welch(&a, &b).unwrap(), welch(&b, &a).unwrap());
        prop_assert!((0.0..=1.0).contains(&one.p), "{one:?}");
        prop_assert!((one.p - other.p).abs() <= 1e-12);
        prop_assert_eq!(one.t, -other.t);
        prop_assert_eq!(are_disjoint(&a, &b), are_disjoint(&b, &a));
    }

    #[test]
    fn adjusted_values_keep_their_order_and_are_no_smaller(p in proptest::collection::vec(0.0..=1.0_f64, 0..20)) {
        let adjusted = benjamini_hochberg(&p);
        for (one, own) in p.iter().zip(&adjusted) {
            prop_assert!(own >= one && *own <= 1.0);
            for (other, theirs) in p.iter().zip(&adjusted) {
                prop_assert!(one > other || own <= theirs);
            }
        }
    }
}
